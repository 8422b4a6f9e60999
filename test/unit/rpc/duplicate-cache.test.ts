import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DuplicateCache } from '../../../src/rpc/duplicate-cache.ts'
import { callKey } from '../../../src/rpc/onc/call-key.ts'

const answer = (text: string) => [Buffer.from(text)]

describe('the duplicate request cache', () => {
  it('lets a call through once, drops it while it is in progress, and answers it when it is done', () => {
    const cache = new DuplicateCache()
    expect(cache.begin('a')).toBe('new')
    expect(cache.begin('a')).toBe('busy')
    expect(cache.begin('b')).toBe('new')
    cache.done('a', answer('removed'))
    expect(String(cache.begin('a'))).toBe('removed')
    expect(cache.begin('b')).toBe('busy')
  })

  it('lets a call through again that was not executed', () => {
    const cache = new DuplicateCache()
    cache.begin('a')
    cache.forget('a')
    expect(cache.begin('a')).toBe('new')
  })

  it('forgets the oldest answers beyond its limits', () => {
    const cache = new DuplicateCache({ entries: 2 })
    for (const key of ['a', 'b', 'c']) {
      cache.begin(key)
      cache.done(key, answer(key))
    }
    expect(cache.begin('a')).toBe('new')
    expect(String(cache.begin('c'))).toBe('c')
  })

  it('never exceeds its limits', () => {
    const calls = fc.array(fc.record({ key: fc.nat(20), bytes: fc.nat(2000) }))
    fc.assert(
      fc.property(calls, (list) => {
        const cache = new DuplicateCache({ entries: 5, bytes: 4000 })
        for (const { key, bytes } of list) {
          if (cache.begin(`${key}`) === 'new') cache.done(`${key}`, [Buffer.alloc(bytes)])
          expect(cache.entries).toBeLessThanOrEqual(5)
          expect(cache.bytes).toBeLessThanOrEqual(4000)
        }
      }),
    )
  })

  it('tells calls apart by sender, transaction, procedure and arguments', () => {
    const peer = { address: '127.0.0.1', port: 700 }
    const call = { program: 1, version: 2, procedure: 3 }
    const keys = [
      callKey(peer, 9, call, Buffer.from('args')),
      callKey({ ...peer, port: 701 }, 9, call, Buffer.from('args')),
      callKey({ ...peer, address: '::1' }, 9, call, Buffer.from('args')),
      callKey(peer, 10, call, Buffer.from('args')),
      callKey(peer, 9, { ...call, procedure: 4 }, Buffer.from('args')),
      callKey(peer, 9, call, Buffer.from('argz')),
      callKey(peer, 9, call, Buffer.from('')),
    ]
    expect(new Set(keys).size).toBe(keys.length)
    expect(callKey({ ...peer }, 9, { ...call }, Buffer.from('args'))).toBe(keys[0])
  })
})
