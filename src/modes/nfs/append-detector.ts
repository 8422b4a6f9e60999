// Appends that went wrong, found by the client that did them. NFS cannot append (RFC 1813 §3.3.7): an O_APPEND write goes
// to where this client believes the file to end. If another client has appended meanwhile, its bytes are overwritten; if
// another has truncated the file, a hole is left. Nobody is told. But the answer to each WRITE says how long the file was
// before it (wcc_data, §2.6): what it has grown beyond our own writes, others wrote.
//
// One file, by episodes: from the first write of a program until all of it has reached the server. Only then is it known
// in which order the server executed our WRITEs, which it may choose.
//
// What it cannot see: a server that does not say what was before (nfs-ganesha) and a WRITE that had to be repeated, which
// may have been executed twice (both are counted as unjudged); one that does not look and write in one step; others' writes
// between ours that did not make the file grow; and appends of others over ours: those they would have to count.
import { compareTimespec } from '../../posix/attributes.ts'
import type { ChangeAttributes } from '../../vfs/change-attributes.ts'
import { ByteRanges } from './byte-ranges.ts'

export interface AppendFindings {
  /** WRITEs that overwrote what another client had written, and how many of its bytes. */
  readonly overwrites: number
  readonly overwrittenBytes: number
  /** Gaps before our bytes, which read as NUL: another client had truncated the file. */
  readonly holes: number
  readonly holeBytes: number
  /** Episodes in which something was appended and nobody can tell what became of it. */
  readonly unjudged: number
}

export const NO_FINDINGS: AppendFindings = { overwrites: 0, overwrittenBytes: 0, holes: 0, holeBytes: 0, unjudged: 0 }

export function addFindings(a: AppendFindings, b: AppendFindings): AppendFindings {
  return {
    overwrites: a.overwrites + b.overwrites,
    overwrittenBytes: a.overwrittenBytes + b.overwrittenBytes,
    holes: a.holes + b.holes,
    holeBytes: a.holeBytes + b.holeBytes,
    unjudged: a.unjudged + b.unjudged,
  }
}

export interface AnsweredWrite {
  readonly start: number
  /** Exclusive. */
  readonly end: number
  /** Absent: the server did not say. */
  readonly before?: ChangeAttributes | undefined
  readonly after?: ChangeAttributes | undefined
}

/** More than these of one episode are not kept: it is unjudged. */
const MAX_RANGES = 1024
const MAX_ANSWERS = 16_384

export class AppendDetector {
  #findings = NO_FINDINGS
  #size: number | undefined
  #open = false
  #doubt = false
  #appended = new ByteRanges()
  #answers: AnsweredWrite[] = []

  /** Since the file became known. */
  get findings(): AppendFindings {
    return this.#findings
  }

  /** An episode has begun, and `settled` has not ended it yet. */
  get watching(): boolean {
    return this.#open
  }

  /** Before the first write of an episode. `size`: of the file, for all that this client knows; undefined: in doubt. */
  begin(size: number | undefined): void {
    this.#open = true
    this.#size = size
  }

  /** A program appended; `end` is exclusive. */
  appended(start: number, end: number): void {
    this.#appended.add(start, end)
    if (this.#appended.count > MAX_RANGES) this.doubt()
  }

  /** A WRITE of this client was answered with success. */
  answered(write: AnsweredWrite): void {
    if (!this.#open || this.#doubt) return
    this.#answers.push(write)
    if (this.#answers.length > MAX_ANSWERS) this.doubt()
  }

  /** Something happened that leaves it open what the file was like: a WRITE failed or was repeated, we truncated it. */
  doubt(): void {
    if (!this.#open) return
    this.#doubt = true
    this.#answers = []
  }

  /** Nothing is unwritten or under way any more. Returns what went wrong since the last time; undefined: nothing. */
  settled(): AppendFindings | undefined {
    if (!this.#open) return undefined
    const appended = this.#appended.count > 0
    const found = appended ? this.#judge() : NO_FINDINGS
    this.#open = this.#doubt = false
    if (appended) this.#appended = new ByteRanges()
    this.#answers = []
    if (found === NO_FINDINGS || Object.values(found).every((count) => count === 0)) return undefined
    this.#findings = addFindings(this.#findings, found)
    return found
  }

  #judge(): AppendFindings {
    const told = this.#answers.filter(isTold)
    if (this.#doubt || this.#size === undefined || told.length < this.#answers.length) {
      return { ...NO_FINDINGS, unjudged: 1 }
    }
    return replay(this.#size, told.sort(asExecuted), this.#appended)
  }
}

type ToldWrite = AnsweredWrite & { readonly before: ChangeAttributes; readonly after: ChangeAttributes }

const isTold = (write: AnsweredWrite): write is ToldWrite => write.before !== undefined && write.after !== undefined

/** The server's clock may be coarse. Within one tick of it, a file that only grows tells the order by its size. */
function asExecuted(a: ToldWrite, b: ToldWrite): number {
  return (
    compareTimespec(a.before.ctime, b.before.ctime) ||
    a.before.size - b.before.size ||
    compareTimespec(a.after.ctime, b.after.ctime) ||
    a.after.size - b.after.size
  )
}

/** Goes through what the server did, and tells apart what is ours. */
function replay(size: number, writes: readonly ToldWrite[], appended: ByteRanges): AppendFindings {
  const foreign = new ByteRanges()
  const holes = new ByteRanges()
  let end = size
  let overwrites = 0
  let overwrittenBytes = 0
  for (const { start, end: stop, before } of writes) {
    foreign.add(end, before.size)
    for (const ranges of [foreign, holes]) ranges.remove(before.size, Number.POSITIVE_INFINITY)
    const lost = appended.within(start, stop).reduce((sum, range) => sum + foreign.overlap(range.start, range.end), 0)
    overwrittenBytes += lost
    if (lost > 0) overwrites++
    for (const ranges of [foreign, holes]) ranges.remove(start, stop)
    // Only what had been there: programs may leave gaps of their own.
    if (appended.has(start)) holes.add(before.size, Math.min(start, end))
    end = Math.max(before.size, stop)
  }
  return { ...NO_FINDINGS, overwrites, overwrittenBytes, holes: holes.count, holeBytes: holes.bytes }
}
