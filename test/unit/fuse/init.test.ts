// What is agreed with the kernel in INIT.
import { describe, expect, it } from 'vitest'
import { negotiate } from '../../../src/fuse/init.ts'
import { INIT } from '../../../src/fuse/protocol.ts'

const everything = (1n << 64n) - 1n
const offer = { major: 7, minor: 45, maxReadahead: 131072, flags: everything }
const wishes = { locks: false, readdirPlus: false }

describe('negotiate', () => {
  it('passthrough, unless the file system wants the write-back cache', () => {
    const plain = negotiate(offer, wishes)
    expect(plain?.passthrough).toBe(true)
    expect((plain?.flags ?? 0n) & (INIT.PASSTHROUGH | INIT.WRITEBACK_CACHE)).toBe(INIT.PASSTHROUGH)
    const writeback = negotiate(offer, { ...wishes, writebackCache: true })
    expect(writeback?.passthrough).toBe(false)
    expect((writeback?.flags ?? 0n) & (INIT.PASSTHROUGH | INIT.WRITEBACK_CACHE)).toBe(INIT.WRITEBACK_CACHE)
  })

  it('grants nothing that was not offered', () => {
    const small = INIT.ASYNC_READ | INIT.BIG_WRITES
    const agreement = negotiate({ ...offer, minor: 31, flags: small }, { ...wishes, writebackCache: true, locks: true })
    expect(agreement).toMatchObject({ flags: small, maxPages: 32, passthrough: false, expireOnly: false })
    expect(agreement?.nameEpochs).toBe(false)
  })
})
