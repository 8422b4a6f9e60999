// Notifications, byte by byte as <linux/fuse.h> lays them out, and what happens when they cannot be sent.
import { describe, expect, it } from 'vitest'
import { negotiate } from '../../../src/fuse/init.ts'
import { DeviceKernelCache } from '../../../src/fuse/kernel-cache.ts'
import { INIT } from '../../../src/fuse/protocol.ts'

const MiB = 1 << 20

/** A device that keeps what it is told and answers with `result`, or fails with an errno's name. */
function kernelCache({ result = true as boolean | string, nameEpochs = true, expireOnly = true } = {}) {
  const now: Buffer[] = []
  const later: Buffer[] = []
  const device = {
    notify: (message: Uint8Array) => now.push(Buffer.from(message)) > 0 && result === true,
    notifyLater: async (message: Uint8Array) => {
      later.push(Buffer.from(message))
      if (typeof result === 'string') throw Object.assign(new Error(result), { code: result })
      return result
    },
  }
  const can = { passthrough: true, invalidation: true, nameEpochs, locks: true }
  return { cache: new DeviceKernelCache(device, can, expireOnly), now, later }
}

/** The body of a message, after a header that says its length, this code, and unique 0. */
function body(message: Buffer | undefined, code: number): Buffer {
  if (message === undefined) throw new Error('no message')
  expect([message.readUInt32LE(0), message.readInt32LE(4), message.readBigUInt64LE(8)]).toEqual([
    message.length,
    code,
    0n,
  ])
  return message.subarray(16)
}

describe('messages', () => {
  it('attributes go at once, data and its range later', async () => {
    const { cache, now, later } = kernelCache()
    expect(cache.invalidateAttributes(5)).toBe(true)
    const attributes = body(now[0], 2)
    expect([attributes.length, attributes.readBigUInt64LE(0), attributes.readBigInt64LE(8)]).toEqual([24, 5n, -1n])
    await cache.invalidateData(6, 4096, 2 ** 40)
    const data = body(later[0], 2)
    expect([data.readBigUInt64LE(0), data.readBigInt64LE(8), data.readBigInt64LE(16)]).toEqual([6n, 4096n, 2n ** 40n])
  })

  it('a name to drop, and a name to expire', async () => {
    const { cache, later } = kernelCache()
    await cache.invalidateName(1, 'naïve')
    await cache.expireName(2, 'b')
    const [dropped, expired] = later.map((message) => body(message, 3)) as [Buffer, Buffer]
    expect([dropped.readBigUInt64LE(0), dropped.readUInt32LE(8), dropped.readUInt32LE(12)]).toEqual([1n, 6, 0])
    expect(dropped.subarray(16)).toEqual(Buffer.from('naïve\0'))
    expect([expired.readBigUInt64LE(0), expired.readUInt32LE(8), expired.readUInt32LE(12)]).toEqual([2n, 1, 1])
    expect(expired.subarray(16).toString()).toBe('b\0')
  })

  it('a name that was removed: parent, child, name', async () => {
    const { cache, later } = kernelCache()
    await cache.deleted(3, 2 ** 40, 'gone')
    const removed = body(later[0], 6)
    expect([removed.readBigUInt64LE(0), removed.readBigUInt64LE(8)]).toEqual([3n, 2n ** 40n])
    expect([removed.readUInt32LE(16), removed.readUInt32LE(20)]).toEqual([4, 0])
    expect(removed.subarray(24).toString()).toBe('gone\0')
  })

  it('bytes to store: in parts of at most 1 MiB that meet at its multiples', async () => {
    const { cache, later } = kernelCache()
    const bytes = Buffer.alloc(2 * MiB + 7).map((_, index) => index * 7)
    expect(await cache.store(9, 2 ** 33 + 4096, bytes)).toBe(true)
    const parts = later.map((message) => body(message, 4))
    expect(parts.map((part) => [part.readBigUInt64LE(0), part.readBigUInt64LE(8), part.readUInt32LE(16)])).toEqual([
      [9n, 2n ** 33n + 4096n, MiB - 4096],
      [9n, 2n ** 33n + BigInt(MiB), MiB],
      [9n, 2n ** 33n + BigInt(2 * MiB), 4096 + 7],
    ])
    expect(Buffer.concat(parts.map((part) => part.subarray(24))).equals(bytes)).toBe(true)
  })

  it('a kernel that does not know the node is sent no more', async () => {
    const { cache, later } = kernelCache({ result: false })
    expect(await cache.store(9, 0, Buffer.alloc(3 * MiB))).toBe(false)
    expect(later).toHaveLength(1)
    expect(cache.invalidateAttributes(9)).toBe(false)
    await cache.deleted(1, 9, 'x')
  })
})

describe('expiring names', () => {
  const offer = { major: 7, minor: 45, maxReadahead: 131072, flags: (1n << 63n) - 1n }
  const wishes = { locks: true, readdirPlus: true }

  it('is agreed upon in INIT, from bit 35 on', () => {
    expect(INIT.HAS_EXPIRE_ONLY).toBe(0x8_0000_0000n)
    expect(negotiate(offer, wishes)?.expireOnly).toBe(true)
    expect(negotiate({ ...offer, flags: offer.flags & ~INIT.HAS_EXPIRE_ONLY }, wishes)?.expireOnly).toBe(false)
  })

  it('drops the name where it was not', async () => {
    const { cache, later } = kernelCache({ expireOnly: false })
    await cache.expireName(1, 'a')
    expect(body(later[0], 3).readUInt32LE(12)).toBe(0)
  })
})

describe('what the kernel or the queue refuses', () => {
  it('too many wait: all names are taken back instead, without waiting', async () => {
    const { cache, now } = kernelCache({ result: 'ENOBUFS' })
    await cache.invalidateName(1, 'a')
    await cache.expireName(1, 'a')
    await cache.deleted(1, 2, 'a')
    expect(now.map((message) => body(message, 8).length)).toEqual([0, 0, 0])
  })

  it('too many wait, and there is nothing instead: ENOBUFS', async () => {
    const old = kernelCache({ result: 'ENOBUFS', nameEpochs: false }).cache
    await expect(old.invalidateName(1, 'a')).rejects.toMatchObject({ name: 'FsError', code: 'ENOBUFS' })
    const { cache } = kernelCache({ result: 'ENOBUFS' })
    await expect(cache.invalidateData(1)).rejects.toMatchObject({ name: 'FsError', code: 'ENOBUFS' })
    await expect(cache.store(1, 0, Buffer.from('x'))).rejects.toMatchObject({ name: 'FsError', code: 'ENOBUFS' })
  })

  it('a removed name that is in use is dropped all the same; other errors are told', async () => {
    await kernelCache({ result: 'ENOTEMPTY' }).cache.deleted(1, 2, 'a')
    await expect(kernelCache({ result: 'EINVAL' }).cache.deleted(1, 2, 'a')).rejects.toMatchObject({ code: 'EINVAL' })
  })
})
