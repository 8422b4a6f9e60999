// Tracing: one event per FUSE request, RPC, cache answer and grant, through node:diagnostics_channel.
// Free when nobody listens: look at `hasSubscribers` before building an event.
//
//   if (fuseChannel.hasSubscribers) fuseChannel.publish({ time: traceTime(), mount, op: 'LOOKUP', … })
import { channel } from 'node:diagnostics_channel'
import type { ErrnoName } from '../posix/errors.ts'

/** What all events share. Events are plain JSON values (no bigint): they are serialized for `.proteus/trace`. */
export interface TraceEvent {
  /** When it ended: milliseconds since the epoch, with a fraction. See `traceTime`. */
  readonly time: number
  /** The mount it belongs to, by its target directory; absent for what a server does for all. */
  readonly mount?: string
  /** How long it took, in microseconds. */
  readonly us?: number
  readonly error?: ErrnoName
  /** Payload bytes read or written. */
  readonly bytes?: number
  /** What else there is to say, in a few words. */
  readonly detail?: string
}

/** One request of the kernel and its answer. */
export interface FuseEvent extends TraceEvent {
  readonly mount: string
  /** The operation as fuse_kernel.h names it, without FUSE_: `LOOKUP`, `READ`. */
  readonly op: string
  readonly node: number
  readonly name?: string
  /** Thread id of the caller, 0 for the kernel. */
  readonly pid: number
  readonly us: number
}

/** One remote call and its answer, seen from the side that `side` names. */
export interface RpcEvent extends TraceEvent {
  /** The procedure with its service: `NFS3.GETATTR`. */
  readonly op: string
  readonly side: 'client' | 'server'
  /** Address of the other side. */
  readonly peer: string
  readonly us: number
}

/** A cache answered, had nothing, or forgot; `conflict`: a write that relied on it met what another client had done. */
export interface CacheEvent extends TraceEvent {
  readonly op: 'hit' | 'miss' | 'store' | 'invalidate' | 'conflict'
  /** Which cache: `attributes`, `names`, `data`, `chunks`, `size`. */
  readonly cache: string
  readonly node: number
  readonly name?: string
}

/** The life of a promise that a client may cache (lease, oplock, callback, delegation). */
export interface GrantEvent extends TraceEvent {
  readonly op: 'grant' | 'recall' | 'return' | 'break' | 'expire'
  readonly client: string
  readonly node: number
  /** The rights, as letters: `R`, `RW`, `RWH`. */
  readonly rights: string
}

/** A diagnostics channel that knows the type of its events. */
export interface TraceChannel<Event extends TraceEvent> {
  readonly hasSubscribers: boolean
  publish(event: Event): void
  subscribe(listener: (event: Event) => void): void
  unsubscribe(listener: (event: Event) => void): boolean
}

export const fuseChannel = traceChannel<FuseEvent>('fuse')
export const rpcChannel = traceChannel<RpcEvent>('rpc')
export const cacheChannel = traceChannel<CacheEvent>('cache')
export const grantChannel = traceChannel<GrantEvent>('grant')

function traceChannel<Event extends TraceEvent>(name: string): TraceChannel<Event> {
  // Node's type leaves the message open; here each channel carries one type of event.
  return channel(`proteus:${name}`) as unknown as TraceChannel<Event>
}

/** An event together with the channel it came through: one line of `.proteus/trace`. */
export type TraceRecord =
  | ({ readonly channel: 'fuse' } & FuseEvent)
  | ({ readonly channel: 'rpc' } & RpcEvent)
  | ({ readonly channel: 'cache' } & CacheEvent)
  | ({ readonly channel: 'grant' } & GrantEvent)
  /** The reader was too slow: so many events are missing here. */
  | { readonly channel: 'trace'; readonly time: number; readonly dropped: number }

/** A constant that Node computes anew each time that it is asked for. */
const { timeOrigin } = performance

/** Now, for `TraceEvent.time`: monotonic within the process and finer than a millisecond. */
export function traceTime(): number {
  return timeOrigin + performance.now()
}

/** Passes on all events of all channels until the returned function is called. */
export function subscribeToTrace(listener: (record: TraceRecord) => void): () => void {
  const onFuse = (event: FuseEvent) => listener({ channel: 'fuse', ...event })
  const onRpc = (event: RpcEvent) => listener({ channel: 'rpc', ...event })
  const onCache = (event: CacheEvent) => listener({ channel: 'cache', ...event })
  const onGrant = (event: GrantEvent) => listener({ channel: 'grant', ...event })
  fuseChannel.subscribe(onFuse)
  rpcChannel.subscribe(onRpc)
  cacheChannel.subscribe(onCache)
  grantChannel.subscribe(onGrant)
  return () => {
    fuseChannel.unsubscribe(onFuse)
    rpcChannel.unsubscribe(onRpc)
    cacheChannel.unsubscribe(onCache)
    grantChannel.unsubscribe(onGrant)
  }
}

/**
 * One aligned line per event: time, channel, operation, duration, outcome, then what it was about.
 *
 *   12:00:00.123456 fuse  LOOKUP            21 µs ENOENT       node 1 "notes.txt" pid 4711
 */
export function formatTrace(record: TraceRecord): string {
  const clock = formatTime(record.time)
  if (record.channel === 'trace') return `${clock} trace ${record.dropped} events dropped: the reader was too slow`
  const duration = record.us === undefined ? '' : `${Math.round(record.us)} µs`
  const outcome = record.error ?? 'ok'
  const line = [clock, record.channel.padEnd(5), record.op.padEnd(15), duration.padStart(10), outcome.padEnd(12)]
  return [...line, ...subject(record)].join(' ').trimEnd()
}

/** What an event was about, as words that stand last in its line. */
function subject(record: Exclude<TraceRecord, { channel: 'trace' }>): string[] {
  const words: string[] = []
  if ('cache' in record) words.push(record.cache)
  if ('peer' in record) words.push(record.side === 'client' ? `to ${record.peer}` : `from ${record.peer}`)
  if ('client' in record) words.push(`${record.rights} of ${record.client}`)
  if ('node' in record) words.push(`node ${record.node}`)
  if ('name' in record && record.name !== undefined) words.push(quote(record.name))
  if (record.bytes !== undefined) words.push(`${record.bytes} bytes`)
  if (record.detail !== undefined) words.push(record.detail)
  if ('pid' in record && record.pid !== 0) words.push(`pid ${record.pid}`)
  return words
}

/** A name as JSON writes it, and without any control character that could speak to a terminal. */
function quote(name: string): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(name).replace(/\p{Cc}/gu, escaped)
}

/** Local time of day with microseconds. */
function formatTime(time: number): string {
  const date = new Date(time)
  const two = (value: number) => String(value).padStart(2, '0')
  const micros = Math.floor((time - Math.floor(time / 1000) * 1000) * 1000)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(micros).padStart(6, '0')}`
}
