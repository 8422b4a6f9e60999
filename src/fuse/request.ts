// One request of the kernel: its header, and the context that the file system sees.
import type { CallContext } from '../vfs/filesystem.ts'

/** Who calls, as FUSE tells it. The abort signal is made only for those who ask for it. */
export class Request implements CallContext {
  readonly opcode: number
  readonly unique: number
  readonly node: number
  readonly uid: number
  readonly gid: number
  readonly pid: number
  /** End of the arguments in the request's bytes (extensions are cut off). */
  readonly end: number
  /** What the request is about, for those who watch: the first name in it, the bytes it moves. */
  name: string | undefined
  bytes: number | undefined
  /** Where it stands among those that wait, while it does. */
  place = 0
  #abort: AbortController | undefined

  constructor(opcode: number, unique: number, node: number, uid: number, gid: number, pid: number, end: number) {
    this.opcode = opcode
    this.unique = unique
    this.node = node
    this.uid = uid
    this.gid = gid
    this.pid = pid
    this.end = end
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    return this.#abort.signal
  }

  interrupt(): void {
    this.#abort ??= new AbortController()
    this.#abort.abort()
  }
}
