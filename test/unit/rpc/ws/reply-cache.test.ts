import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReplyCache } from '../../../../src/rpc/ws/reply-cache.ts'

const answer = (text: string) => Buffer.from(text)

describe('the reply cache of a client', () => {
  it('lets a call through once, and answers it again', () => {
    const cache = new ReplyCache()
    expect(cache.begin(1, 0)).toBe('new')
    expect(cache.begin(1, 0)).toBe('busy')
    cache.done(1, answer('one'))
    expect(String(cache.begin(1, 0))).toBe('one')
    expect(cache.begin(2, 0)).toBe('new')
  })

  it('forgets what the client has, and says so if it is asked all the same', () => {
    const cache = new ReplyCache()
    for (const id of [1, 2, 3]) {
      cache.begin(id, 0)
      cache.done(id, answer(`${id}`))
    }
    expect(cache.begin(4, 3)).toBe('new')
    expect(cache.entries).toBe(1)
    expect(cache.begin(2, 3)).toBe('forgotten')
    expect(String(cache.begin(3, 3))).toBe('3')
  })

  it('forgets the oldest answers beyond its limits: such a call is not executed again', () => {
    const cache = new ReplyCache({ entries: 2 })
    for (const id of [1, 2, 3]) {
      cache.begin(id, 0)
      cache.done(id, answer(`${id}`))
    }
    expect(cache.begin(1, 0)).toBe('forgotten')
    expect(cache.begin(1, 0)).toBe('forgotten')
    expect(String(cache.begin(2, 0))).toBe('2')
  })

  it('lets a call through again that was not executed to an end', () => {
    const cache = new ReplyCache()
    cache.begin(1, 0)
    cache.forget(1)
    expect(cache.begin(1, 0)).toBe('new')
    expect(cache.begin(1, 0)).toBe('busy')
  })

  it('executes nothing twice, however calls come again and whatever is forgotten', () => {
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom('call', 'again', 'passed', 'done', 'undone'),
        which: fc.nat(30),
        bytes: fc.nat(500),
      }),
      { maxLength: 200 },
    )
    fc.assert(
      fc.property(steps, (list) => {
        const cache = new ReplyCache({ entries: 5, bytes: 3000 })
        const running = new Set<number>()
        const executed = new Set<number>()
        const unanswered = new Set<number>()
        let next = 1
        const ask = (id: number) => {
          const known = cache.begin(id, Math.min(next, ...unanswered))
          if (known === 'new') {
            expect(running.has(id)).toBe(false)
            expect(executed.has(id)).toBe(false)
            running.add(id)
          } else if (known === 'busy') expect(running.has(id)).toBe(true)
          else if (known !== 'forgotten') {
            expect(Number(String(known).split(' ')[0])).toBe(id)
            unanswered.delete(id)
          }
        }
        for (const { what, which, bytes } of list) {
          const id = [...unanswered][which % Math.max(1, unanswered.size)]
          if (what === 'call') {
            unanswered.add(next)
            ask(next++)
          } else if (what === 'passed') cache.passed(next++)
          else if (id === undefined) continue
          else if (what === 'again') ask(id)
          else if (running.delete(id)) {
            if (what === 'undone') cache.forget(id)
            else {
              executed.add(id)
              cache.done(id, Buffer.from(`${id} ${'x'.repeat(bytes)}`))
            }
          }
          expect(cache.entries).toBeLessThanOrEqual(5)
          expect(cache.bytes).toBeLessThanOrEqual(3000)
        }
      }),
    )
  })
})
