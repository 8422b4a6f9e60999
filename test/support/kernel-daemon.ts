// A program that mounts a file system in memory through the kernel driver, to be run by a test with an IPC channel
// (kernel-mount.ts): kernel-daemon DIRECTORY OPTIONS-AS-JSON
//
// It says `ready`, then does what COMMANDS lists. It ends when its parent does.
import { mountKernel } from '../../src/fuse/kernel.ts'
import { FsError } from '../../src/posix/errors.ts'
import { O_RDWR, O_TRUNC } from '../../src/posix/mode.ts'
import { fuseChannel } from '../../src/trace/trace.ts'
import type { CallContext, FileSystem, KernelCache, NodeId } from '../../src/vfs/filesystem.ts'
import { ROOT_NODE } from '../../src/vfs/filesystem.ts'
import { MemoryFileSystem, type MemoryOptions } from './memory-fs.ts'

export interface KernelReport {
  readonly lookups: number
  readonly handles: number
  readonly nodes: number
  /** How often each opcode was asked since the last `forgetRequests`. */
  readonly requests: Readonly<Record<string, number>>
  /** The WRITEs among them: for whom, and how much. */
  readonly writes: readonly { readonly pid: number; readonly bytes: number }[]
  /** What went to onError. */
  readonly errors: readonly string[]
}

type Method = 'lookup' | 'create' | 'open' | 'openDirectory'

const [target = '', options = '{}'] = process.argv.slice(2)
const memory = new MemoryFileSystem(JSON.parse(options) as MemoryOptions)
const context: CallContext = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal }
const errors: string[] = []
let requests: Record<string, number> = {}
let writes: { pid: number; bytes: number }[] = []
fuseChannel.subscribe(({ op, pid, bytes = 0 }) => {
  if (op === 'WRITE') writes.push({ pid, bytes })
  requests[op] = (requests[op] ?? 0) + 1
})

/** Answers that are held back, by method: how to let them go. */
const held = new Map<PropertyKey, { arrived(): void; readonly free: Promise<void>; letGo(): void }>()
let arrival: Promise<void> = Promise.resolve()

/** The file system; it has made and counted what it answers before the answer is held back. */
const fileSystem = new Proxy<FileSystem>(memory, {
  get(inner, key) {
    const value: unknown = Reflect.get(inner, key)
    if (typeof value !== 'function') return value
    return (...args: unknown[]) => {
      const result: unknown = value.apply(inner, args)
      const gate = held.get(key)
      if (gate === undefined) return result
      gate.arrived()
      return gate.free.then(() => result)
    }
  },
})

function kernel(): KernelCache {
  if (memory.kernel === undefined) throw new Error('the kernel has not said INIT')
  return memory.kernel
}

/** The node of a name in the root, which counts no lookup. */
function find(name: string): NodeId {
  const { node } = memory.lookup(context, ROOT_NODE, name)
  if (node === 0) throw new FsError('ENOENT', name)
  memory.forget(node, 1)
  return node
}

/** What the test may ask for. Changes are made behind the kernel's back; `node` is that of a name in the root. */
export const COMMANDS = {
  report: (): KernelReport => ({ ...memory.audit(), requests, writes, errors }),
  forgetRequests(): void {
    requests = {}
    writes = []
  },
  /** Replaces the content of a file. */
  write(name: string, text: string): void {
    const { handle } = memory.open(context, find(name), O_RDWR | O_TRUNC)
    memory.write(context, handle, 0, Buffer.from(text), false)
    memory.release(handle)
  },
  read(name: string): string {
    const { handle } = memory.open(context, find(name), 0)
    const text = Buffer.from(memory.read(context, handle, 0, 1 << 30)).toString()
    memory.release(handle)
    return text
  },
  mtime: (name: string) => memory.getAttributes(context, find(name)).attributes.mtime,
  remove(name: string): void {
    memory.unlink(context, ROOT_NODE, name)
  },
  rename(name: string, newName: string): void {
    memory.rename(context, { parent: ROOT_NODE, name, newParent: ROOT_NODE, newName, flags: 0 })
  },
  node: find,
  invalidateAttributes: (node: NodeId) => kernel().invalidateAttributes(node),
  invalidateData: (node: NodeId) => kernel().invalidateData(node),
  invalidateName: (name: string) => kernel().invalidateName(ROOT_NODE, name),
  expireName: (name: string) => kernel().expireName(ROOT_NODE, name),
  deleted: (node: NodeId, name: string) => kernel().deleted(ROOT_NODE, node, name),
  store: (node: NodeId, offset: number, text: string) => kernel().store(node, offset, Buffer.from(text)),
  /** From now on answers of a method are held back. */
  hold(method: Method): void {
    let arrived = (): void => undefined
    let letGo = (): void => undefined
    arrival = new Promise((resolve) => {
      arrived = resolve
    })
    const free = new Promise<void>((resolve) => {
      letGo = resolve
    })
    held.set(method, { arrived, free, letGo })
  },
  /** Resolves when an answer is being held back. */
  holding: () => arrival,
  letGo(): void {
    for (const { letGo } of held.values()) letGo()
    held.clear()
  },
}

export interface KernelCommand {
  readonly id: number
  readonly command: keyof typeof COMMANDS
  readonly args: unknown[]
}

export interface KernelAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

process.on('message', async ({ id, command, args }: KernelCommand) => {
  let answer: KernelAnswer
  try {
    answer = { id, result: await (COMMANDS[command] as (...args: unknown[]) => unknown)(...args) }
  } catch (error) {
    answer = { id, error: (error as Error).message }
  }
  process.send?.(answer)
})
process.on('disconnect', () => process.exit())

const request = { fileSystem, target, driver: 'kernel', source: 'proteus:memory', options: {} } as const
await mountKernel({ ...request, onError: (error) => errors.push(error.message) })
process.send?.({ id: 0 } satisfies KernelAnswer)
