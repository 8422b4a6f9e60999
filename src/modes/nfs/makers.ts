// Programs that fill directories (tar, git, cp) have the kernel ask for each name before they make it. After a few such
// names the next one need not be asked of the server if there is reason to believe that it is new: the call that makes
// it finds out. Pure.
import { LRUCache } from 'lru-cache'
import type { NodeId } from '../../vfs/filesystem.ts'

/** Names that were made as expected before the next one is expected to be. */
const CONVINCING = 3
/** Names asked for and not made yet: git looks for an object, makes a temporary file, and gives it the name of the object. */
const OPEN_QUESTIONS = 2
const MAX_PROGRAMS = 256

interface Program {
  /** Names in a row that were made after they had been asked for. */
  made: number
  readonly open: string[]
}

export class Makers {
  readonly #programs = new LRUCache<number, Program>({ max: MAX_PROGRAMS })

  /** Programs that are remembered. */
  get programs(): number {
    return this.#programs.size
  }

  /**
   * Whether a program that asks for a name only wants to make it. Never twice for one name: who asks again wants to know. So a
   * program that does something else hears one answer at most that is not the server's.
   */
  expects(pid: number, parent: NodeId, name: string): boolean {
    const program = this.#programs.get(pid)
    if (program === undefined || program.made < CONVINCING || program.open.length >= OPEN_QUESTIONS) return false
    return !program.open.includes(keyOf(parent, name))
  }

  /** A program was told that there is no such name. */
  told(pid: number, parent: NodeId, name: string): void {
    const program = this.#programs.get(pid) ?? { made: 0, open: [] }
    this.#programs.set(pid, program)
    const key = keyOf(parent, name)
    if (program.open.includes(key)) return
    program.open.push(key)
    if (program.open.length <= OPEN_QUESTIONS) return
    program.open.shift()
    program.made = 0
  }

  /** A program made a name. */
  made(pid: number, parent: NodeId, name: string): void {
    const program = this.#programs.get(pid)
    const at = program?.open.indexOf(keyOf(parent, name)) ?? -1
    if (program === undefined || at < 0) return
    program.open.splice(at, 1)
    program.made++
  }
}

const keyOf = (parent: NodeId, name: string): string => `${parent}/${name}`
