import { createHmac, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FILE_HANDLE_BYTES, FileHandles, KEY_BYTES } from '../../../../src/modes/nfs/file-handle.ts'
import { NFS3_FHSIZE } from '../../../../src/modes/nfs/nfs3-types.ts'
import { seed } from '../../../support/random.ts'

const key = Buffer.alloc(KEY_BYTES, 1)
const some = { exportId: 7, ino: 12, generation: 99 }
const u32 = fc.nat(0xffff_ffff)
const handle = fc.record({ exportId: u32, ino: fc.nat(Number.MAX_SAFE_INTEGER), generation: u32 })

describe(`file handles (seed ${seed()})`, () => {
  it('come back as what they were made of, after a restart, too', () => {
    const handles = new FileHandles(key)
    expect(FILE_HANDLE_BYTES).toBeLessThanOrEqual(NFS3_FHSIZE)
    fc.assert(
      fc.property(handle, (value) => {
        const bytes = handles.encode(value)
        expect(bytes.length).toBe(FILE_HANDLE_BYTES)
        expect(new FileHandles(key).decode(bytes)).toEqual(value)
        expect(handles.encode(value)).toEqual(bytes)
        expect(handles.decode(bytes)).toEqual(value)
      }),
      { seed: seed() },
    )
  })

  it('are the same for ever: a version, numbers, and half of their HMAC-SHA-256', () => {
    const body = Buffer.from('01000000' + '00000007' + '000000000000000c' + '00000063', 'hex')
    const mac = createHmac('sha256', key).update(body).digest().subarray(0, 16)
    expect(new FileHandles(key).encode(some)).toEqual(Buffer.concat([body, mac]))
  })

  it('are refused with any bit changed, whether or not the true one is known', () => {
    const handles = new FileHandles(key)
    const bytes = handles.encode(some)
    for (const known of [false, true]) {
      if (known) handles.decode(bytes)
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const forged = Buffer.from(bytes)
        forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(handles.decode(forged), `bit ${bit}`).toBeUndefined()
      }
    }
  })

  it('are refused when they are too short or too long, of another key, or of another version', () => {
    const handles = new FileHandles(key)
    const bytes = handles.encode(some)
    for (let length = 0; length < bytes.length; length++)
      expect(handles.decode(bytes.subarray(0, length))).toBeUndefined()
    expect(handles.decode(Buffer.concat([bytes, Buffer.alloc(4)]))).toBeUndefined()
    expect(new FileHandles(Buffer.alloc(KEY_BYTES, 2)).decode(bytes)).toBeUndefined()
    const other = Buffer.from(bytes)
    other[0] = 2
    expect(handles.decode(other)).toBeUndefined()
    expect(handles.decode(randomBytes(FILE_HANDLE_BYTES))).toBeUndefined()
  })

  it('are made anew for the same inode in another export or of another generation', () => {
    const handles = new FileHandles(key)
    for (const value of [some, { ...some, exportId: 8 }, { ...some, generation: 100 }, some])
      expect(new FileHandles(key).decode(handles.encode(value))).toEqual(value)
  })

  it('need a whole key', () => {
    expect(() => new FileHandles(Buffer.alloc(31))).toThrow(RangeError)
  })

  it('are not confused when the buffer that one came in is used again', () => {
    const handles = new FileHandles(key)
    const buffer = Buffer.from(handles.encode(some))
    expect(handles.decode(buffer)).toEqual(some)
    handles.encode({ ...some, ino: 13 }).copy(buffer)
    expect(handles.decode(buffer)).toEqual({ ...some, ino: 13 })
  })
})
