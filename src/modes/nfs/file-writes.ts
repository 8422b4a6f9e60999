// The writes of one file at work: what its write-behind decides becomes WRITE, COMMIT and SETATTR calls, and their answers
// go back to it.
import type { AttributeChanges } from '../../posix/attributes.ts'
import { type ErrnoName, FsError } from '../../posix/errors.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import { chain } from '../../vfs/awaitable.ts'
import type { Awaitable, CallContext, Handle, KeepData } from '../../vfs/filesystem.ts'
import { AppendDetector, type AppendFindings, NO_FINDINGS } from './append-detector.ts'
import type { ClientCaches } from './caches.ts'
import { type Caller, failureOf, type NfsConnection } from './connection.ts'
import type { KeptBytes } from './kept-ranges.ts'
import { LateAttributes } from './late-attributes.ts'
import { NFS3, type Result } from './nfs3.ts'
import { consistencyOf } from './nfs3-attributes.ts'
import type { NfsNode } from './nodes.ts'
import { NO_HANDLE, WriteBehind } from './write-behind.ts'
import { type WriteRoom, waitFor } from './write-room.ts'
import type { FlushDepth, Stability, WriteEffect, WriteFacts } from './write-types.ts'

/** From here on the memory of a write is kept; less is copied, since a whole request buffer would stay with it. */
const KEEP_BYTES = 512 * 1024

export interface FileWritesOptions {
  readonly node: NfsNode
  readonly connection: NfsConnection
  readonly caches: ClientCaches
  readonly room: WriteRoom
  readonly writeBytes: number
  /** Most WRITEs at once. */
  readonly maxUnderWay: number
  setAttributes(changes: AttributeChanges, caller: Caller): Promise<void>
  /** Nothing is kept any more. */
  onIdle(): void
  /** Appends went wrong, or nobody can tell whether they did. */
  onAppends(found: AppendFindings): void
}

export interface ProgramWrite {
  readonly offset: number
  readonly data: Uint8Array
  readonly append: boolean
  readonly keep?: KeepData | undefined
}

interface Truncation {
  sent: boolean
  send(): Promise<void>
  over(error?: unknown): void
  readonly ended: Promise<void>
}

type Sent = Extract<WriteEffect, { type: 'write' }>
type Commit = Extract<WriteEffect, { type: 'commit' }>

const { WRITE, COMMIT } = NFS3.procedures
/** COMMIT counts 0 bytes to the end (RFC 1813 §3.3.21). */
const WHOLE_FILE = { offset: 0, count: 0 }
const STABLE_HOW = { unstable: 'UNSTABLE', dataSync: 'DATA_SYNC', fileSync: 'FILE_SYNC' } as const
const STABILITY = { UNSTABLE: 'unstable', DATA_SYNC: 'dataSync', FILE_SYNC: 'fileSync' } as const satisfies Record<
  (typeof STABLE_HOW)[Stability],
  Stability
>

export class FileWrites {
  readonly #options: FileWritesOptions
  readonly #machine: WriteBehind
  /** Who opened the file for writing last: in that name its bytes are sent. */
  #credential: OpaqueAuth
  readonly #flushes = new Map<number, (error: ErrnoName | undefined) => void>()
  #truncation: Truncation | undefined
  /** WRITEs that the server called stable, and how many of them a COMMIT of the whole file has followed. */
  #promised: number
  #confirmed = 0
  /** COMMITs under way. */
  #commits = 0
  readonly #appends = new AppendDetector()
  readonly late: LateAttributes

  constructor(credential: OpaqueAuth, options: FileWritesOptions) {
    const { writeBytes, maxUnderWay, room } = options
    this.#options = options
    this.#credential = credential
    this.#promised = options.node.unconfirmed ? 1 : 0
    this.#machine = new WriteBehind({ writeBytes, maxUnderWay, budget: room.budget })
    this.late = new LateAttributes({
      send: () => options.setAttributes({}, { credential: this.#credential }),
      after: (ms, action) => options.connection.link.clock.after(ms, action),
      onSettled: () => this.#ifIdle(),
    })
  }

  /** Nothing is kept, and nothing is to be said. */
  get idle(): boolean {
    return this.#machine.idle && this.late.unset === undefined
  }

  /** All that is left of it is in `node.unconfirmed`. */
  get isOver(): boolean {
    const { findings, watching } = this.#appends
    const told = this.late.settled && this.#machine.unwatched && findings === NO_FINDINGS && !watching
    return this.idle && this.#commits === 0 && told
  }

  /** Where the last byte that is kept ends. */
  get end(): number {
    return this.#machine.end
  }

  get facts(): WriteFacts {
    return this.#machine.facts()
  }

  opened(handle: Handle, credential: OpaqueAuth): void {
    this.#credential = credential
    this.#machine.opened(handle)
  }

  /** The last reference to an open file is gone. What is not sent yet (a mapping wrote it, or a flush was given up) goes. */
  closed(handle: Handle): void {
    this.#machine.closed(handle)
    const { dirtyBytes, sentBytes } = this.#machine.facts()
    // No handle hears of it: an error is kept for whoever opens the file next.
    if (dirtyBytes + sentBytes > 0) Promise.resolve(this.flush(undefined, NO_HANDLE, 'server')).catch(() => undefined)
  }

  kept(offset: number, length: number): KeptBytes[] {
    return this.#machine.kept(offset, length)
  }

  /** What became of what was appended. */
  get appends(): AppendFindings {
    return this.#appends.findings
  }

  /** A program writes: the bytes are taken, to be sent later. `append`: where this client believes the file to end. */
  write(context: CallContext, write: ProgramWrite): Awaitable<number> {
    const { room, caches, node } = this.#options
    if (!this.#machine.admits()) return room.wait(context).then(() => this.write(context, write))
    const { offset, data, append, keep } = write
    room.add(this)
    if (!this.#appends.watching) this.#appends.begin(caches.size(node))
    if (append) this.#appends.appended(offset, offset + data.length)
    caches.unfinished.wrote(node.id, offset, data)
    this.#run(this.#machine.write(offset, data, data.length >= KEEP_BYTES ? keep?.() : undefined))
    return data.length
  }

  /** Everything written until now gets so far; fails with the error of a write that `handle` has not heard of. */
  flush(context: CallContext | undefined, handle: Handle, depth: FlushDepth): Awaitable<void> {
    const flushed = this.late.settled ? this.#flush(context, handle, depth) : this.#flushAll(context, handle, depth)
    return depth === 'committed' ? chain(flushed, () => this.#confirm(context)) : flushed
  }

  /** Bytes and late attributes, in one message if both are short. */
  async #flushAll(context: CallContext | undefined, handle: Handle, depth: FlushDepth): Promise<void> {
    const flush = async (): Promise<void> => this.#flush(context, handle, depth)
    for (const outcome of await Promise.allSettled([flush(), this.#settleLate(context)])) {
      if (outcome.status === 'rejected') throw outcome.reason
    }
  }

  #settleLate(context: CallContext | undefined): Promise<void> {
    return waitFor(this.#options.connection.interruptions, context, (resolve, reject) => {
      Promise.resolve(this.late.settle()).then(resolve, (error) => reject(FsError.from(error)))
      return () => {}
    })
  }

  #flush(context: CallContext | undefined, handle: Handle, depth: FlushDepth): Awaitable<void> {
    const { ticket, effects } = this.#machine.flush(handle, depth)
    const at = effects.findIndex((effect) => effect.type === 'flushed' && effect.ticket === ticket)
    if (at >= 0) {
      this.#run(effects)
      const { error } = effects[at] as Extract<WriteEffect, { type: 'flushed' }>
      if (error !== undefined) throw new FsError(error)
      return
    }
    const over = waitFor(this.#options.connection.interruptions, context, (resolve, reject) => {
      this.#flushes.set(ticket, (error) => (error === undefined ? resolve() : reject(new FsError(error))))
      return () => {
        if (this.#flushes.delete(ticket)) this.#machine.abandon(ticket)
      }
    })
    this.#run(effects)
    return over
  }

  /** The server is to know the size and times that follow from everything written until now. */
  settle(context: CallContext | undefined): Awaitable<void> {
    if (this.#machine.settled) return this.late.settled ? undefined : this.#settleLate(context)
    return this.flush(context, NO_HANDLE, 'server')
  }

  /** The same before a SETATTR, which takes along what the server does not know. */
  async settleWrites(context: CallContext): Promise<void> {
    if (!this.#machine.settled) await this.#flush(context, NO_HANDLE, 'server')
    await this.late.underWay
  }

  /** The file was made by a call that could not say these. */
  made(changes: AttributeChanges): void {
    this.#options.room.add(this)
    this.late.put(changes)
  }

  /** Memory of the mount is short. */
  relieve(): void {
    this.#run(this.#machine.relieve())
  }

  /** `send`: the SETATTR with the new size, called when nothing beyond it is on its way. */
  async truncate(context: CallContext, size: number, send: () => Promise<void>): Promise<void> {
    while (this.#truncation !== undefined) await this.#truncation.ended
    await waitFor(this.#options.connection.interruptions, context, (resolve, reject) => {
      let end = (): void => {}
      const ended = new Promise<void>((done) => {
        end = done
      })
      const truncation: Truncation = {
        sent: false,
        send,
        ended,
        over: (error) => {
          this.#truncation = undefined
          this.#run(this.#machine.truncated(error === undefined))
          end()
          if (error === undefined) resolve()
          else reject(FsError.from(error))
        },
      }
      this.#truncation = truncation
      this.#run(this.#machine.truncate(size))
      // Given up before anything was asked of the server: as if nobody had wanted it.
      return () => {
        if (this.#truncation === truncation && !truncation.sent) truncation.over(new FsError('EINTR'))
      }
    })
  }

  #run(effects: readonly WriteEffect[]): void {
    for (const effect of effects) this.#do(effect)
    if (this.#appends.watching && this.#machine.settled) this.#judgeAppends()
    if (effects.length > 0) this.#ifIdle()
  }

  #ifIdle(): void {
    if (!this.idle) return
    this.#options.room.delete(this)
    this.#options.onIdle()
  }

  #judgeAppends(): void {
    const found = this.#appends.settled()
    if (found !== undefined) this.#options.onAppends(found)
  }

  #do(effect: WriteEffect): void {
    switch (effect.type) {
      case 'write':
        this.#send(effect)
        break
      case 'commit':
        this.#commit(effect)
        break
      case 'flushed': {
        const flush = this.#flushes.get(effect.ticket)
        this.#flushes.delete(effect.ticket)
        flush?.(effect.error)
        break
      }
      case 'truncate':
        this.#truncate()
        break
      case 'lost':
        this.#options.caches.dropPages(this.#options.node, effect.offset, effect.length)
        break
      case 'freed':
        this.#options.room.freed()
    }
  }

  async #send({ request, offset, length, pieces, stability }: Sent): Promise<void> {
    const { node, connection, caches } = this.#options
    const change = caches.begin(node)
    const repetitions = connection.repetitions(WRITE)
    const [first] = pieces
    const data = pieces.length === 1 && first !== undefined ? asBuffer(first) : Buffer.concat(pieces, length)
    let result: Result<'WRITE'> | undefined
    try {
      const args = { file: node.handle, offset, count: length, stable: STABLE_HOW[stability], data }
      result = await connection.call(WRITE, args, { credential: this.#credential })
    } catch (error) {
      caches.end(node, change)
      this.#appends.doubt()
      this.#run(this.#machine.failed(request, FsError.from(error).code))
      return
    }
    caches.end(node, change, result.wcc)
    if (result.status !== 'NFS3_OK') {
      this.#appends.doubt()
      this.#run(this.#machine.failed(request, failureOf(result).code))
      return
    }
    const { count, committed, verifier, wcc } = result
    if (committed !== 'UNSTABLE') {
      this.#promised++
      node.unconfirmed = true
    }
    const { before, after } = consistencyOf(wcc)
    this.#appends.answered({ start: offset, end: offset + Math.min(count, length), before, after })
    const repeated = connection.repetitions(WRITE) !== repetitions
    // Whatever was executed twice has met its own bytes.
    if (repeated) this.#appends.doubt()
    this.#run(
      this.#machine.written(request, {
        count: Math.min(count, length),
        committed: STABILITY[committed],
        verifier: verifier.readBigUInt64BE(),
        repeated,
      }),
    )
  }

  async #commit({ request, offset, length }: Commit): Promise<void> {
    let result: Result<'COMMIT'>
    try {
      result = await this.#callCommit({ offset, count: length }, { credential: this.#credential })
    } catch (error) {
      this.#run(this.#machine.failed(request, FsError.from(error).code))
      return
    }
    const effects =
      result.status === 'NFS3_OK'
        ? this.#machine.committed(request, result.verifier.readBigUInt64BE())
        : this.#machine.failed(request, failureOf(result).code)
    this.#run(effects)
  }

  /** A COMMIT of what was written and closed before: nothing is kept of it, and nothing can be sent again. */
  #confirm(context: CallContext | undefined): Awaitable<void> {
    if (this.#promised === this.#confirmed) return
    return this.#callCommit(WHOLE_FILE, context ?? { credential: this.#credential }).then((result) => {
      if (result.status !== 'NFS3_OK') throw failureOf(result)
    })
  }

  /** Of a range; if more than that was promised, of the whole file. */
  async #callCommit(range: typeof WHOLE_FILE, caller: Caller): Promise<Result<'COMMIT'>> {
    const { node, connection, caches } = this.#options
    const promised = this.#promised
    const { offset, count } = promised > this.#confirmed ? WHOLE_FILE : range
    const asked = caches.request()
    this.#commits++
    const result = await connection
      .call(COMMIT, { file: node.handle, offset, count }, caller)
      .finally(() => this.#commits--)
    // A COMMIT changes nothing that others could see: its attributes are like those of any other answer.
    caches.learn(node, result.wcc.after, asked)
    if (result.status === 'NFS3_OK') {
      this.#confirmed = Math.max(this.#confirmed, promised)
      node.unconfirmed = this.#promised > this.#confirmed
    }
    return result
  }

  #truncate(): void {
    const truncation = this.#truncation
    if (truncation === undefined) return
    truncation.sent = true
    this.#appends.doubt()
    truncation.send().then(
      () => truncation.over(),
      (error) => truncation.over(error),
    )
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
