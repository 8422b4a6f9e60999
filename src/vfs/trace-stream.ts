// One reader of `.proteus/trace`: JSON lines, buffered up to a limit. A reader that falls behind loses events,
// never the mount its speed, and is told in the stream how many are missing.
import { FsError } from '../posix/errors.ts'
import { subscribeToTrace, type TraceRecord, traceTime } from '../trace/trace.ts'
import type { ControlStream } from './control-file.ts'

/** Bytes of JSON lines kept for a reader that is not reading: a few thousand events. */
const BUFFER_BYTES = 1024 * 1024

export interface TraceStreamOptions {
  /** Which records this reader gets. */
  accepts(record: TraceRecord): boolean
  readonly bufferBytes?: number
}

export class TraceStream implements ControlStream {
  ended = false
  readonly #bufferBytes: number
  readonly #unsubscribe: () => void
  readonly #waiting = new Set<() => void>()
  /** Whole lines, but for the first, of which a reader with a small buffer may have had a part. */
  #lines: Buffer[] = []
  #bytes = 0
  #dropped = 0

  constructor(options: TraceStreamOptions) {
    this.#bufferBytes = options.bufferBytes ?? BUFFER_BYTES
    this.#unsubscribe = subscribeToTrace((record) => {
      if (options.accepts(record)) this.#push(record)
    })
  }

  take(length: number): Uint8Array {
    // The count of what was dropped stands where the dropped events would have stood.
    if (this.#bytes === 0) this.#tellDropped()
    const parts: Buffer[] = []
    let room = length
    let whole = 0
    for (const line of this.#lines) {
      if (line.length > room) break
      parts.push(line)
      room -= line.length
      whole++
    }
    this.#lines.splice(0, whole)
    const next = this.#lines[0]
    if (parts.length === 0 && next !== undefined) {
      parts.push(next.subarray(0, room))
      this.#lines[0] = next.subarray(room)
      room = 0
    }
    this.#bytes -= length - room
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
  }

  ready(signal: AbortSignal): Promise<void> {
    if (this.#bytes > 0 || this.#dropped > 0 || this.ended) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#waiting.delete(wake)
        signal.removeEventListener('abort', interrupted)
      }
      const wake = (): void => {
        settle()
        resolve()
      }
      const interrupted = (): void => {
        settle()
        reject(new FsError('EINTR'))
      }
      if (signal.aborted) return interrupted()
      this.#waiting.add(wake)
      signal.addEventListener('abort', interrupted)
    })
  }

  close(): void {
    this.#unsubscribe()
    this.ended = true
    this.#wake()
  }

  #push(record: TraceRecord): void {
    const line = lineOf(record)
    if (this.#bytes + line.length > this.#bufferBytes) this.#dropped++
    else {
      this.#tellDropped()
      this.#append(line)
    }
    this.#wake()
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return
    this.#append(lineOf({ channel: 'trace', time: traceTime(), dropped: this.#dropped }))
    this.#dropped = 0
  }

  #append(line: Buffer): void {
    this.#lines.push(line)
    this.#bytes += line.length
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

const lineOf = (record: TraceRecord): Buffer => Buffer.from(`${JSON.stringify(record)}\n`)
