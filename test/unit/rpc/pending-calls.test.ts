import { describe, expect, it } from 'vitest'
import {
  PendingCalls,
  type RetryOptions,
  TCP_RETRY,
  UDP_RETRY,
  type Waiting,
} from '../../../src/rpc/onc/pending-calls.ts'

/** When a call that is never answered is sent, in seconds, and what becomes of it. */
function unanswered(options: RetryOptions, times: number): string[] {
  const pending = new PendingCalls<Waiting>(options)
  pending.add({ xid: 1, ...pending.begin(0) })
  const seen: string[] = []
  while (seen.length < times && pending.size > 0) {
    const now = pending.nextAt
    const { resend, failed, major } = pending.expire(now)
    const words = [resend.length > 0 ? 'resend' : '', failed.length > 0 ? 'fail' : '', major.length > 0 ? 'major' : '']
    seen.push(`${now / 1000} ${words.filter((word) => word !== '').join(' ')}`)
  }
  return seen
}

describe('retransmission', () => {
  it('is that of nfs(5) over TCP: linear, a major timeout after 60 + 120 + 180 s', () => {
    expect(unanswered(TCP_RETRY, 4)).toEqual(['60 resend', '180 resend', '360 resend major', '420 resend'])
  })

  it('is that of nfs(5) over UDP: doubled each time', () => {
    expect(unanswered(UDP_RETRY, 5)).toEqual([
      '1.1 resend',
      '3.3 resend',
      '7.7 resend',
      '16.5 resend major',
      '17.6 resend',
    ])
  })

  it('ends with an error if the mount is soft', () => {
    const soft = { ...UDP_RETRY, hard: false, retrans: 1 }
    expect(unanswered(soft, 5)).toEqual(['1.1 resend', '3.3 fail major'])
    expect(unanswered({ ...soft, retrans: 0 }, 5)).toEqual(['1.1 fail major'])
  })

  it('waits no longer than the maximum', () => {
    const options: RetryOptions = { timeoMs: 1000, retrans: 4, maxTimeoMs: 3000, backoff: 'exponential', hard: false }
    expect(unanswered(options, 9)).toEqual(['1 resend', '3 resend', '6 resend', '9 resend', '12 fail major'])
  })

  it('concerns only the calls that are due, and none that is answered', () => {
    const pending = new PendingCalls<Waiting>(UDP_RETRY)
    for (const xid of [1, 2, 3]) pending.add({ xid, ...pending.begin(xid * 100) })
    expect(pending.take(1)?.xid).toBe(1)
    expect(pending.take(1)).toBeUndefined()
    expect(pending.expire(1300).resend.map(({ xid }) => xid)).toEqual([2])
    expect(pending.nextAt).toBe(1400)
    pending.take(2)
    pending.take(3)
    expect(pending.nextAt).toBe(Number.POSITIVE_INFINITY)
  })

  it('counts from when the call was sent', () => {
    const pending = new PendingCalls<Waiting>(TCP_RETRY)
    const call = { xid: 1, ...pending.begin(0) }
    pending.add(call)
    pending.sent(call, 50_000)
    expect(pending.expire(60_000).resend).toEqual([])
    expect(pending.nextAt).toBe(110_000)
  })
})
