import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decode, encode } from '../../../../src/codec/xdr.ts'
import {
  attributesOf,
  changesOf,
  fattr3Of,
  isDevice,
  joinDevice,
  sattr3Of,
  splitDevice,
  timespec,
} from '../../../../src/modes/nfs/nfs3-attributes.ts'
import { fattr3, sattr3, size3 } from '../../../../src/modes/nfs/nfs3-types.ts'
import type { AttributeChanges, Attributes } from '../../../../src/posix/attributes.ts'
import { seed } from '../../../support/random.ts'

const u32 = fc.nat(0xffff_ffff)
const safe = fc.nat(Number.MAX_SAFE_INTEGER)
const time = fc.record({ sec: u32, nsec: fc.nat(999_999_999) })
const types = fc.constantFrom(0o100000, 0o040000, 0o060000, 0o020000, 0o120000, 0o140000, 0o010000)
const device = fc.record({ specdata1: fc.nat(0xfff), specdata2: fc.nat(0xf_ffff) })
const attributes: fc.Arbitrary<Attributes> = fc
  .record({
    ino: fc.nat(2 ** 53 - 1),
    mode: fc.tuple(types, fc.nat(0o7777)).map(([type, bits]) => type | bits),
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: device.map(joinDevice),
    size: safe,
    blocks: fc.nat(2 ** 43),
    atime: time,
    mtime: time,
    ctime: time,
  })
  .map((value) => ({ ...value, blockSize: 4096, btime: value.ctime }))

describe(`attributes of NFS version 3 (seed ${seed()})`, () => {
  it('come back through the wire', () => {
    fc.assert(
      fc.property(attributes, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value, fsid) => {
        const there = decode(fattr3, encode(fattr3, fattr3Of(value, fsid)))
        expect(there.fsid).toBe(fsid)
        const { btime: _, ...back } = attributesOf(there, 4096)
        const { btime: __, ...sent } = value
        expect(back).toEqual(sent)
      }),
      { seed: seed() },
    )
  })

  it('know every device number that the kernel has', () => {
    fc.assert(
      fc.property(device, (value) => {
        const joined = joinDevice(value)
        expect(joined).toBeGreaterThanOrEqual(0)
        expect(splitDevice(joined)).toEqual(value)
      }),
      { seed: seed() },
    )
    expect(joinDevice({ specdata1: 8, specdata2: 1 })).toBe(0x801)
    expect(joinDevice({ specdata1: 0xfff, specdata2: 0xf_ffff })).toBe(0xffff_ffff)
    expect(isDevice({ specdata1: 0xfff, specdata2: 0xf_ffff })).toBe(true)
    expect(isDevice({ specdata1: 0x1000, specdata2: 0 })).toBe(false)
    expect(isDevice({ specdata1: 0, specdata2: 0x10_0000 })).toBe(false)
  })

  it('show times that the protocol cannot count as the nearest that it can', () => {
    const [base] = fc.sample(attributes, { seed: seed(), numRuns: 1 })
    if (base === undefined) throw new Error('no sample')
    const shown = (sec: number, nsec = 5) => fattr3Of({ ...base, mtime: { sec, nsec } }, 0n).mtime
    expect(shown(-1)).toEqual({ seconds: 0, nseconds: 0 })
    expect(shown(-(2 ** 40))).toEqual({ seconds: 0, nseconds: 0 })
    expect(shown(0)).toEqual({ seconds: 0, nseconds: 5 })
    expect(shown(2 ** 31)).toEqual({ seconds: 2 ** 31, nseconds: 5 })
    expect(shown(2 ** 32 - 1)).toEqual({ seconds: 2 ** 32 - 1, nseconds: 5 })
    expect(shown(2 ** 33).seconds).toBe(2 ** 32 - 1)
    // What a client sends is not believed to be a nanosecond because it is in that place.
    expect(timespec({ seconds: 1, nseconds: 0x3fff_ffff }).nsec).toBe(999_999_999)
  })

  it('ask for changes, and are understood', () => {
    const when = fc.oneof(time, fc.constant('now' as const))
    const changes = fc.record(
      { mode: fc.nat(0o7777), uid: u32, gid: u32, size: safe, atime: when, mtime: when },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(changes, (value) => {
        expect(changesOf(decode(sattr3, encode(sattr3, sattr3Of(value as AttributeChanges))))).toEqual(value)
      }),
      { seed: seed() },
    )
  })

  it('take sizes and offsets of all 64 bits', () => {
    const read = (value: bigint) => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64BE(value)
      return decode(size3, bytes)
    }
    expect(read(2n ** 53n - 1n)).toBe(Number.MAX_SAFE_INTEGER)
    expect(read(2n ** 53n - 2n)).toBe(Number.MAX_SAFE_INTEGER - 1)
    for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) expect(read(value)).toBe(Number.MAX_SAFE_INTEGER)
  })
})
