// A lock server that restarts, callbacks that get lost, answers that come late; two clients whose owners lock, unlock and
// lose patience. What must hold: no two owners believe in locks that conflict, and nobody waits for ever.
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { LockClient } from '../../../../src/modes/nfs/lock-client.ts'
import {
  type HeldNlmLock,
  type LockEffect,
  NLM4_STATS,
  type NlmCall,
  type NlmLock,
} from '../../../../src/modes/nfs/nlm-types.ts'
import { LockTable } from '../../../../src/store/lock-table.ts'
import type { LockRange, LockTicket } from '../../../../src/store/lock-types.ts'

const { NLM4_GRANTED, NLM4_DENIED, NLM4_BLOCKED, NLM4_DENIED_GRACE_PERIOD, NLM4_DEADLCK, NLM4_DENIED_NOLOCKS } =
  NLM4_STATS
const FILES = [1, 2]

interface Message {
  readonly client: Client
  readonly call: NlmCall
  status?: number
}

class Server {
  table = new LockTable()
  state = 1
  grace = false
  /** Who waits, by ticket. */
  waiting = new Map<LockTicket, { client: Client; lock: NlmLock }>()
  callbacks: { client: Client; lock: NlmLock }[] = []

  execute({ client, call: { procedure, lock, block, reclaim } }: Message): number {
    const owner = { client: client.name, owner: String(lock.svid) }
    const request = { ...owner, file: lock.file, range: lock.range, class: 'range', pid: 1 } as const
    const same = [...this.waiting].find(
      ([, other]) =>
        other.client === client &&
        other.lock.svid === lock.svid &&
        other.lock.file === lock.file &&
        other.lock.range.start === lock.range.start &&
        other.lock.range.end === lock.range.end &&
        other.lock.exclusive === lock.exclusive,
    )
    if (procedure === 'CANCEL') {
      if (same === undefined) return NLM4_DENIED
      this.waiting.delete(same[0])
      this.#granted(this.table.cancel(same[0]).granted)
      return NLM4_GRANTED
    }
    if (this.grace && !reclaim) return NLM4_DENIED_GRACE_PERIOD
    if (procedure === 'UNLOCK') {
      this.#granted(this.table.request({ ...request, kind: 'unlock', wait: false }).effects.granted)
      return NLM4_GRANTED
    }
    if (reclaim && !this.grace) return NLM4_DENIED_GRACE_PERIOD
    if (same !== undefined) return NLM4_BLOCKED
    const kind = lock.exclusive ? 'exclusive' : 'shared'
    const outcome = this.table.request({ ...request, kind, wait: block })
    if (outcome.type === 'waiting') this.waiting.set(outcome.ticket, { client, lock })
    this.#granted(outcome.effects.granted)
    if (outcome.type === 'granted') return NLM4_GRANTED
    if (outcome.type === 'waiting') return NLM4_BLOCKED
    if (outcome.type === 'deadlock') return NLM4_DEADLCK
    return outcome.type === 'conflict' ? NLM4_DENIED : NLM4_DENIED_NOLOCKS
  }

  /** A client did not want what it was called back for. */
  takeBack(client: Client, lock: NlmLock): void {
    const owner = { client: client.name, owner: String(lock.svid) }
    const { file, range } = lock
    const request = { ...owner, file, range, class: 'range', pid: 1, kind: 'unlock', wait: false } as const
    this.#granted(this.table.request(request).effects.granted)
  }

  restart(): void {
    this.table = new LockTable()
    this.state += 2
    this.grace = true
    this.waiting.clear()
    this.callbacks = []
  }

  #granted(tickets: readonly LockTicket[]): void {
    for (const ticket of tickets) {
      const waiting = this.waiting.get(ticket)
      assert(waiting)
      this.waiting.delete(ticket)
      this.callbacks.push(waiting)
    }
  }
}

/** A program: it does one thing at a time. */
interface Owner {
  readonly client: Client
  readonly name: bigint
  /** What it asked for, and has not heard of. */
  asked:
    | {
        id: number
        file: number
        range: LockRange
        mode: 'shared' | 'exclusive' | 'unlock'
        weakens: string[]
      }
    | undefined
  /** What it believes to hold, by file and byte. */
  readonly holds: Map<string, 'shared' | 'exclusive'>
}

class Client {
  readonly machine: LockClient
  notified = 1

  readonly name: string

  constructor(name: string, now: () => number) {
    this.name = name
    this.machine = new LockClient({ now, pollMs: () => 300, graceMs: 50 })
    this.machine.serverStateIs(1)
  }
}

const BYTES = 6

export class World {
  readonly counts = { granted: 0, denied: 0, deadlocks: 0, interrupted: 0, restarts: 0 }
  readonly #next: () => number
  readonly #server = new Server()
  readonly #clients: Client[]
  readonly #owners: Owner[]
  #messages: Message[] = []
  #nowMs = 0

  constructor(next: () => number) {
    this.#next = next
    this.#clients = ['A', 'B'].map((name) => new Client(name, () => this.#nowMs))
    this.#owners = this.#clients.flatMap((client) =>
      [1n, 2n].map((name) => ({ client, name, asked: undefined, holds: new Map() })),
    )
  }

  step(): void {
    const draw = this.#next()
    if (draw < 0.25) this.#ask()
    else if (draw < 0.3) this.#interrupt()
    else if (draw < 0.31 && !this.#server.grace) this.#restart()
    else this.#goOn()
    this.#checkExclusion()
  }

  /** Everybody unlocks; nothing may be left, and nobody may wait. */
  settle(): void {
    for (let left = 20_000; ; left--) {
      if (left === 0)
        assert.fail(
          `it never ends: ${inspect(
            this.#clients.map(({ machine }) => machine.waiting()),
            { depth: 5 },
          )}`,
        )
      for (const owner of this.#owners) {
        const file = FILES.find((one) => [...owner.holds.keys()].some((key) => key.startsWith(`${one}:`)))
        if (owner.asked === undefined && file !== undefined)
          this.#unlock(owner, file, { start: 0, end: Number.POSITIVE_INFINITY })
      }
      const waits = this.#clients.some(({ machine }) => machine.deadlineMs() !== undefined)
      const busy = this.#messages.length > 0 || this.#server.callbacks.length > 0 || this.#server.grace || waits
      if (!busy && this.#owners.every(({ asked, holds }) => asked === undefined && holds.size === 0)) break
      this.#goOn()
    }
    assert.deepEqual(this.#server.table.lockedFiles(), [])
    for (const { machine } of this.#clients) {
      assert.deepEqual([machine.held(), machine.waiting(), machine.deadlineMs()], [[], [], undefined])
    }
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.#next() * list.length)]
  }

  #ask(): void {
    const owner = this.#pick(this.#owners)
    const file = this.#pick(FILES)
    if (owner === undefined || file === undefined || owner.asked !== undefined) return
    const start = Math.floor(this.#next() * BYTES)
    const end = start + Math.floor(this.#next() * (BYTES - start))
    if (this.#next() < 0.4) this.#unlock(owner, file, { start, end })
    else {
      const mode = this.#next() < 0.5 ? 'exclusive' : 'shared'
      const exclusive = mode === 'exclusive'
      const wait = this.#next() < 0.7
      const asked = { file, owner: owner.name, range: { start, end }, exclusive, wait }
      const { id, effects } = owner.client.machine.lock(asked)
      // From when it asks for less it counts on less.
      const weakens: string[] = []
      for (let at = start; at <= end && !exclusive; at++) {
        if (owner.holds.get(`${file}:${at}`) !== 'exclusive') continue
        owner.holds.set(`${file}:${at}`, 'shared')
        weakens.push(`${file}:${at}`)
      }
      owner.asked = { id, file, range: { start, end }, mode, weakens }
      this.#take(owner.client, effects)
    }
  }

  #unlock(owner: Owner, file: number, range: LockRange): void {
    const { id, effects } = owner.client.machine.unlock(file, owner.name, range)
    // From when it asks it does not count on the lock.
    for (let at = range.start; at <= Math.min(range.end, BYTES); at++) owner.holds.delete(`${file}:${at}`)
    owner.asked = { id, file, range, mode: 'unlock', weakens: [] }
    this.#take(owner.client, effects)
  }

  #interrupt(): void {
    const owner = this.#pick(this.#owners)
    if (owner?.asked === undefined || owner.asked.mode === 'unlock') return
    // A downgrade that has happened cannot be undone for sure: somebody else may have come in.
    if (owner.asked.weakens.length > 0) return
    this.counts.interrupted++
    this.#take(owner.client, owner.client.machine.interrupt(owner.asked.id))
    assert.equal(owner.asked, undefined)
  }

  #restart(): void {
    this.counts.restarts++
    this.#server.restart()
    // Answers are lost; the calls come again.
    for (const message of this.#messages) if (this.#next() < 0.5) delete message.status
  }

  #goOn(): void {
    const server = this.#server
    const draw = this.#next()
    if (draw < 0.4) {
      const message = this.#pick(this.#messages)
      if (message !== undefined && message.status === undefined) message.status = server.execute(message)
    } else if (draw < 0.75) {
      const message = this.#pick(this.#messages)
      if (message?.status === undefined) return
      this.#messages = this.#messages.filter((other) => other !== message)
      this.#take(message.client, message.client.machine.answered(message.call.cookie, message.status))
    } else if (draw < 0.85) {
      const callback = server.callbacks.shift()
      // One in five gets lost.
      if (callback === undefined || this.#next() < 0.2) return
      const { accepted, effects } = callback.client.machine.granted(callback.lock)
      if (!accepted) server.takeBack(callback.client, callback.lock)
      this.#take(callback.client, effects)
    } else if (draw < 0.9) {
      this.#nowMs += 40
      for (const client of this.#clients) this.#take(client, client.machine.tick())
    } else if (server.grace) {
      const client = this.#clients.find(({ notified }) => notified < server.state)
      if (client !== undefined) {
        client.notified = server.state
        this.#take(client, client.machine.serverRestarted(server.state))
        assert.deepEqual(client.machine.serverRestarted(server.state), [])
      } else if (!this.#messages.some(({ call }) => call.reclaim)) server.grace = false
    }
  }

  #take(client: Client, effects: readonly LockEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'call') this.#messages.push({ client, call: effect.call })
      else if (effect.type === 'lost') this.#lost(client, effect.lock)
      else {
        // `lock` tells its id and its effects together, and never that it is done at once.
        const owner = this.#owners.find((one) => one.client === client && one.asked?.id === effect.id)
        assert(owner?.asked, `nobody asked ${effect.id}`)
        const { file, range, mode, weakens } = owner.asked
        owner.asked = undefined
        // Refused: it is as it was.
        if (effect.error !== undefined) for (const byte of weakens) owner.holds.set(byte, 'exclusive')
        if (effect.error === undefined && mode !== 'unlock') {
          this.counts.granted++
          for (let at = range.start; at <= range.end; at++) owner.holds.set(`${file}:${at}`, mode)
        } else if (effect.error === 'EAGAIN') this.counts.denied++
        else if (effect.error === 'EDEADLK') this.counts.deadlocks++
        else assert(effect.error === undefined || effect.error === 'EINTR', `unexpected ${effect.error}`)
      }
    }
  }

  /** Everybody reclaims in time here: only what was being changed to shared anyway may not be exclusive any more. */
  #lost(client: Client, lock: HeldNlmLock): void {
    const owner = this.#owners.find((one) => one.client === client && one.name === lock.owner)
    for (let at = lock.start; at <= lock.end; at++) {
      const index = owner?.asked?.weakens.indexOf(`${lock.file}:${at}`) ?? -1
      assert(index >= 0, `lost ${inspect(lock)}`)
      owner?.asked?.weakens.splice(index, 1)
    }
  }

  #checkExclusion(): void {
    const seen = new Map<string, 'shared' | 'exclusive'>()
    for (const { holds } of this.#owners) {
      for (const [byte, mode] of holds) {
        const other = seen.get(byte)
        assert(other === undefined || (other === 'shared' && mode === 'shared'), `byte ${byte} is locked twice`)
        seen.set(byte, mode)
      }
    }
  }
}
