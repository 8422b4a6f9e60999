// The duplicate request cache: a call that is not idempotent and comes again, because its answer was lost or late, is not
// executed again. A pure state machine.
import { crc32 } from 'node:zlib'

/** Bytes of the arguments that are looked at: all of them but for data, of which a megabyte would take a millisecond. */
const CHECKED_BYTES = 4096

/**
 * What tells two calls apart. The arguments belong to it since a client that began again may have come to the same
 * transaction id; the port, since clients of one host may.
 */
export class RepeatableCall {
  /** Calls that are the same have the same, and few others. */
  readonly hash: number
  /** What it was answered; undefined while it is in progress. */
  answer: Buffer | undefined
  /** Another one of this hash in the cache. */
  other: RepeatableCall | undefined
  readonly #address: string
  readonly #port: number
  readonly #xid: number
  readonly #program: number
  readonly #version: number
  readonly #procedure: number
  readonly #bytes: number
  readonly #checksum: number

  constructor(
    { address, port }: { readonly address: string; readonly port: number },
    xid: number,
    { program, version, procedure }: { readonly program: number; readonly version: number; readonly procedure: number },
    args: Buffer,
  ) {
    this.#address = address
    this.#port = port
    this.#xid = xid
    this.#program = program
    this.#version = version
    this.#procedure = procedure
    this.#bytes = args.length
    this.#checksum = crc32(args.length <= CHECKED_BYTES ? args : args.subarray(0, CHECKED_BYTES))
    this.hash = xid ^ this.#checksum
  }

  equals(other: RepeatableCall): boolean {
    return (
      this.#xid === other.#xid &&
      this.#checksum === other.#checksum &&
      this.#bytes === other.#bytes &&
      this.#procedure === other.#procedure &&
      this.#version === other.#version &&
      this.#program === other.#program &&
      this.#port === other.#port &&
      this.#address === other.#address
    )
  }
}

export interface DuplicateCacheLimits {
  /** Answers that are kept. */
  readonly entries?: number
  /** Bytes of answers that are kept. */
  readonly bytes?: number
}

/** What an entry takes besides its answer. */
const ENTRY_BYTES = 256

export class DuplicateCache {
  readonly #limits: Required<DuplicateCacheLimits>
  /** By hash: calls in progress, as many as their connections allow, and those whose answers are kept. */
  readonly #calls = new Map<number, RepeatableCall>()
  /** Those that are answered, the oldest first. */
  readonly #answered = new Set<RepeatableCall>()
  #bytes = 0

  constructor({ entries = 4096, bytes = 8 * 1024 * 1024 }: DuplicateCacheLimits = {}) {
    this.#limits = { entries, bytes }
  }

  get entries(): number {
    return this.#answered.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A call came: undefined, execute it; else it came before and has been answered so, or will be. */
  begin(call: RepeatableCall): RepeatableCall | undefined {
    const first = this.#calls.get(call.hash)
    for (let before = first; before !== undefined; before = before.other) if (before.equals(call)) return before
    call.other = first
    this.#calls.set(call.hash, call)
    return undefined
  }

  /** The call was executed and answered so. */
  done(call: RepeatableCall, answer: readonly Buffer[]): void {
    // A copy of its own: the chunks hold on to larger blocks.
    call.answer = Buffer.concat(answer)
    this.#answered.add(call)
    this.#bytes += call.answer.length + ENTRY_BYTES
    for (const oldest of this.#answered) {
      if (this.#answered.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) break
      this.#answered.delete(oldest)
      this.#bytes -= (oldest.answer?.length ?? 0) + ENTRY_BYTES
      this.forget(oldest)
    }
  }

  /** The call was not executed: if it comes again, it is new. */
  forget(call: RepeatableCall): void {
    const first = this.#calls.get(call.hash)
    if (first === call) {
      if (call.other === undefined) this.#calls.delete(call.hash)
      else this.#calls.set(call.hash, call.other)
      return
    }
    for (let before = first; before !== undefined; before = before.other)
      if (before.other === call) before.other = call.other
  }
}
