// A server that keeps what is UNSTABLE in memory, executes requests in any order, restarts at any moment, and a client
// that drives the write-behind of one file against it. What programs may rely on is checked here, byte by byte.
import assert from 'node:assert/strict'
import { overlay } from '../../../../src/modes/nfs/kept-ranges.ts'
import { NO_HANDLE, WriteBehind } from '../../../../src/modes/nfs/write-behind.ts'
import { WriteBudget } from '../../../../src/modes/nfs/write-budget.ts'
import type { FlushDepth, Stability, WriteEffect } from '../../../../src/modes/nfs/write-types.ts'
import type { ErrnoName } from '../../../../src/posix/errors.ts'

export const FILE_BYTES = 96

type WriteCall = Extract<WriteEffect, { type: 'write' }>

/** What a byte may be on the server: each value that was given to it, and when. `undefined`: anything. */
interface Given {
  readonly value: number | undefined
  readonly write: number
}

class Server {
  stable = new Uint8Array(FILE_BYTES)
  /** Bytes in memory only. */
  unstable: (number | undefined)[] = Array(FILE_BYTES).fill(undefined)
  verifier = 1n

  content(): Uint8Array {
    return this.stable.map((byte, at) => this.unstable[at] ?? byte)
  }

  write({ offset, pieces }: WriteCall, count: number, stability: Stability): void {
    for (const [index, byte] of Buffer.concat(pieces).subarray(0, count).entries()) {
      if (stability === 'unstable') this.unstable[offset + index] = byte
      else {
        this.stable[offset + index] = byte
        this.unstable[offset + index] = undefined
      }
    }
  }

  commit(offset: number, length: number): void {
    const end = length === 0 ? FILE_BYTES : offset + length
    for (let at = offset; at < end; at++) {
      this.stable[at] = this.unstable[at] ?? this.stable[at] ?? 0
      this.unstable[at] = undefined
    }
  }

  truncate(size: number): void {
    this.stable.fill(0, size)
    this.unstable.fill(undefined, size)
  }

  restart(): void {
    this.unstable.fill(undefined)
    this.verifier++
  }
}

interface Call {
  readonly effect: WriteEffect
  /** Once executed. */
  answer?: () => void
}

interface Waiting {
  readonly handle: number
  readonly depth: FlushDepth
  readonly upTo: number
}

interface Read {
  readonly kept: ReturnType<WriteBehind['kept']>
  readonly writes: number
  server?: Uint8Array
}

export class World {
  readonly server = new Server()
  readonly machine: WriteBehind
  readonly #next: () => number
  readonly #errors: boolean
  #calls: Call[] = []
  readonly #given: Given[][] = Array.from({ length: FILE_BYTES }, () => [{ value: 0, write: 0 }])
  readonly #flushes = new Map<number, Waiting>()
  /** Handles that have to hear of an error. */
  readonly #owed = new Map<number, ErrnoName>()
  readonly #open = new Set<number>()
  #reads: Read[] = []
  #writes = 0
  #truncating = false
  /** Flushes that ended well, and WRITEs and COMMITs that were sent. */
  readonly counts = { flushed: 0, write: 0, commit: 0, lost: 0, released: 0 }

  constructor(next: () => number, { errors, maxUnderWay = 3 }: { errors: boolean; maxUnderWay?: number }) {
    this.#next = next
    this.#errors = errors
    const budget = new WriteBudget({ limitBytes: 64 })
    this.machine = new WriteBehind({ writeBytes: 16, budget, maxBytes: 80, maxUnderWay })
    for (const handle of [1, 2]) {
      this.machine.opened(handle)
      this.#open.add(handle)
    }
  }

  /** One thing happens, at random. */
  step(): void {
    const draw = this.#next()
    if (draw < 0.3) this.#write()
    else if (draw < 0.36) this.#flush()
    else if (draw < 0.38) this.#truncate()
    else if (draw < 0.42) this.server.restart()
    else if (draw < 0.45) this.#startFlush(NO_HANDLE, this.#next() < 0.7 ? 'server' : 'stable')
    else if (draw < 0.5) this.#read()
    else if (draw < 0.75) this.#execute()
    else this.#answer()
  }

  /** Everything that is under way is answered, and what follows from it, until nothing is. */
  settle(): void {
    for (const handle of this.#open) this.#startFlush(handle, 'stable')
    for (let left = 10_000; this.#calls.length > 0 || this.#flushes.size > 0; left--) {
      assert(
        left > 0,
        `it never ends: ${JSON.stringify([this.machine.facts(), this.#calls.map(({ effect }) => effect.type)])}`,
      )
      this.#execute()
      this.#answer()
    }
    assert(this.machine.idle)
    assert.equal(this.machine.end, 0)
  }

  #pick<T>(list: T[]): T | undefined {
    return list[Math.floor(this.#next() * list.length)]
  }

  #write(): void {
    if (!this.machine.admits()) {
      this.#take(this.machine.relieve())
      return
    }
    const offset = Math.floor(this.#next() * FILE_BYTES)
    const length = Math.min(FILE_BYTES - offset, 1 + Math.floor(this.#next() ** 2 * 40))
    const write = ++this.#writes
    const data = Uint8Array.from({ length }, () => Math.floor(this.#next() * 256))
    for (const [index, value] of data.entries()) this.#given[offset + index]?.push({ value, write })
    // What is kept is spoiled as soon as nobody should need it any more, and what is copied at once.
    const keep = this.#next() < 0.5
    const release = () => {
      this.counts.released++
      data.fill(0xee)
    }
    this.#take(this.machine.write(offset, data, keep ? release : undefined))
    if (!keep) data.fill(0)
  }

  #flush(): void {
    this.#startFlush(this.#pick([...this.#open]) ?? 1, this.#next() < 0.5 ? 'committed' : 'stable')
  }

  #startFlush(handle: number, depth: FlushDepth): void {
    const { ticket, effects } = this.machine.flush(handle, depth)
    this.#flushes.set(ticket, { handle, depth, upTo: this.#writes })
    this.#take(effects)
  }

  #truncate(): void {
    if (this.#truncating) return
    this.#truncating = true
    this.#take(this.machine.truncate(Math.floor(this.#next() * FILE_BYTES)))
  }

  #read(): void {
    const read = this.#pick(this.#reads)
    if (read === undefined || this.#next() < 0.3) {
      const kept = this.machine.kept(0, FILE_BYTES).map(({ offset, bytes }) => ({ offset, bytes: bytes.slice() }))
      this.#reads.push({ kept, writes: this.#writes })
    } else if (read.server === undefined) read.server = this.server.content()
    else {
      this.#reads = this.#reads.filter((other) => other !== read)
      if (this.#truncating) return
      const seen = overlay({ offset: 0, bytes: read.server }, read.kept, this.machine.kept(0, FILE_BYTES))
      for (const [at, history] of this.#given.entries()) {
        const last = history.at(-1)
        // What was written or cut off meanwhile may be seen or not.
        if (last?.value === undefined || last.write > read.writes) continue
        assert.equal(seen[at], last.value, `byte ${at} is not what this client wrote`)
      }
    }
  }

  /** The server executes one request. Its answer may be lost, and the request be sent again. */
  #execute(): void {
    const call = this.#pick(this.#calls)
    if (call === undefined || call.answer !== undefined) return
    const { effect } = call
    const { server, machine } = this
    if (effect.type === 'write') {
      if (this.#errors && this.#next() < 0.05) {
        call.answer = () => this.#fail(effect.request)
        return
      }
      const count = this.#next() < 0.2 ? Math.ceil(this.#next() * effect.length) : effect.length
      const committed = this.#next() < 0.1 ? 'fileSync' : effect.stability
      server.write(effect, count, committed)
      const { verifier } = server
      call.answer = () => this.#take(machine.written(effect.request, { count, committed, verifier }))
    } else if (effect.type === 'commit') {
      if (this.#errors && this.#next() < 0.05) {
        call.answer = () => this.#fail(effect.request)
        return
      }
      server.commit(effect.offset, effect.length)
      const { verifier } = server
      call.answer = () => this.#take(machine.committed(effect.request, verifier))
    } else if (effect.type === 'truncate') {
      const ok = this.#next() < 0.8
      // From when it is executed until it is answered both may be seen.
      const cut = () => {
        const write = ++this.#writes
        for (const history of this.#given.slice(effect.size)) history.push({ value: 0, write })
      }
      if (ok) {
        server.truncate(effect.size)
        cut()
      }
      call.answer = () => {
        this.#truncating = false
        if (ok) cut()
        this.#take(machine.truncated(ok))
      }
    }
    // Executed twice, with another answer the second time.
    if (effect.type !== 'truncate' && this.#next() < 0.1) delete call.answer
  }

  #answer(): void {
    const call = this.#pick(this.#calls)
    if (call === undefined) return
    const { effect } = call
    const given = effect.type === 'write' || effect.type === 'commit' ? effect : undefined
    if (given !== undefined && this.#next() < 0.1) {
      this.#calls = this.#calls.filter((other) => other !== call)
      this.#take(this.machine.retry(given.request))
    } else if (call.answer !== undefined) {
      this.#calls = this.#calls.filter((other) => other !== call)
      call.answer()
    }
  }

  #fail(request: number): void {
    const error = this.#next() < 0.5 ? 'ENOSPC' : 'EIO'
    for (const handle of this.#open) if (!this.#owed.has(handle)) this.#owed.set(handle, error)
    this.#take(this.machine.failed(request, error))
  }

  #take(effects: readonly WriteEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'write' || effect.type === 'commit' || effect.type === 'truncate') {
        if (effect.type !== 'truncate') this.counts[effect.type]++
        if (effect.type === 'write') this.#checkWrite(effect)
        this.#calls.push({ effect })
      } else if (effect.type === 'lost') {
        this.counts.lost++
        const write = ++this.#writes
        const lost = this.#given.slice(effect.offset, effect.offset + effect.length)
        for (const history of lost) history.push({ value: undefined, write })
      } else if (effect.type === 'flushed') this.#flushed(effect.ticket, effect.error)
    }
    assert(this.machine.facts().dirtyBytes >= 0)
  }

  /** No two WRITEs that are under way touch the same bytes, and none is larger than it may be. */
  #checkWrite({ offset, length, pieces }: WriteCall): void {
    assert(length > 0 && length <= 16)
    assert.equal(
      pieces.reduce((sum, piece) => sum + piece.length, 0),
      length,
    )
    for (const { effect } of this.#calls) {
      if (effect.type === 'write') {
        assert(effect.offset >= offset + length || offset >= effect.offset + effect.length, 'two WRITEs overlap')
      }
      if (effect.type === 'truncate') assert.fail('a WRITE beside a truncation')
    }
  }

  /** A flush ended: a loss of power now must not cost anything of it. */
  #flushed(ticket: number, error: ErrnoName | undefined): void {
    const flush = this.#flushes.get(ticket)
    // One that the machine made for itself.
    if (flush === undefined) return
    this.#flushes.delete(ticket)
    if (error === undefined) this.counts.flushed++
    assert.equal(error, this.#owed.get(flush.handle))
    this.#owed.delete(flush.handle)
    if (flush.depth === 'server') return
    for (const [at, history] of this.#given.entries()) {
      const last = history.findLastIndex(({ write }) => write <= flush.upTo)
      const allowed = history.slice(last).map(({ value }) => value)
      const value = this.server.stable[at]
      assert(allowed.includes(undefined) || allowed.includes(value), `byte ${at} is ${value}, not one of ${allowed}`)
    }
  }
}
