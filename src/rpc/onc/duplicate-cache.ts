// The duplicate request cache: a call that is not idempotent and comes again, because its answer was lost or late, is not
// executed again. A pure state machine.
import { crc32 } from 'node:zlib'

/** Bytes of the arguments that are looked at: all of them but for data, of which a megabyte would take a millisecond. */
const CHECKED_BYTES = 4096

/**
 * What tells two calls apart. The arguments belong to it since a client that began again may have come to the same
 * transaction id; the port, since clients of one host may.
 */
export function callKey(
  { address, port }: { readonly address: string; readonly port: number },
  xid: number,
  { program, version, procedure }: { readonly program: number; readonly version: number; readonly procedure: number },
  args: Buffer,
): string {
  const checksum = crc32(args.subarray(0, CHECKED_BYTES))
  return `${address} ${port} ${xid} ${program} ${version} ${procedure} ${args.length} ${checksum}`
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
  /** Calls whose answer is not known yet: as many as are in progress, which their connections limit. */
  readonly #busy = new Set<string>()
  /** Answers, the oldest first. */
  readonly #answers = new Map<string, Buffer>()
  #bytes = 0

  constructor({ entries = 4096, bytes = 8 * 1024 * 1024 }: DuplicateCacheLimits = {}) {
    this.#limits = { entries, bytes }
  }

  get entries(): number {
    return this.#answers.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A call came: execute it (`new`), forget it (`busy`: its answer will come), or send this answer again. */
  begin(key: string): 'new' | 'busy' | Buffer {
    if (this.#busy.has(key)) return 'busy'
    const answer = this.#answers.get(key)
    if (answer !== undefined) return answer
    this.#busy.add(key)
    return 'new'
  }

  /** The call was executed and answered so. */
  done(key: string, answer: readonly Buffer[]): void {
    this.#busy.delete(key)
    // A copy of its own: the chunks hold on to larger blocks.
    const copy = Buffer.concat(answer)
    this.#answers.set(key, copy)
    this.#bytes += copy.length + ENTRY_BYTES
    for (const [oldest, { length }] of this.#answers) {
      if (this.#answers.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) break
      this.#answers.delete(oldest)
      this.#bytes -= length + ENTRY_BYTES
    }
  }

  /** The call was not executed: if it comes again, it is new. */
  forget(key: string): void {
    this.#busy.delete(key)
  }
}
