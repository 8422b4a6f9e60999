// The portable driver: the same FileSystem through npm fuse-native and libfuse 2, where the kernel driver cannot run.
// The kernel caches neither names nor attributes nor data, so that mounts of one volume agree without invalidation.
import { execFile } from 'node:child_process'
import { realpath, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { FsError } from '../posix/errors.ts'
import { fuseChannel, traceTime } from '../trace/trace.ts'
import type { CallContext, KernelAbilities, KernelCache, NodeId } from '../vfs/filesystem.ts'
import type { MountedFileSystem, MountRequest } from './mount.ts'
import { escapeOption } from './options.ts'
import { connect, type PortableConnection, type PortableMount, PortableMountError } from './portable-binding.ts'
import { PortableOperations } from './portable-operations.ts'
import { Paths } from './portable-paths.ts'

const ABILITIES: KernelAbilities = { passthrough: false, invalidation: false, nameEpochs: false, locks: false }

const LIMITATIONS: readonly string[] = [
  'Who calls is not known: the file system takes every call for one of the user who mounted, who owns all new files.',
  'Locks (fcntl, OFD, flock) exclude programs on this mount only.',
  'The kernel caches nothing: every read and write is a call, and shared memory maps (MAP_SHARED) fail with ENODEV.',
  'Times are whole milliseconds from 1970 on; to set only atime or only mtime has no effect.',
  'A file removed while it is open lives on as .fuse_hidden… until its last close; its directory is not empty before.',
  'fstat of an open file that another mount renamed or removed fails with ENOENT; it can still be read and written.',
  'O_CREAT of a file that another mount makes at the same moment may fail with EEXIST.',
  'A call that waits cannot be interrupted.',
  'No fallocate, O_TMPFILE, renameat2 flags and ioctl; lseek finds no holes, and syncfs asks nothing.',
  'Inode numbers are folded to 32 bits.',
]

/** How many paths are remembered. */
const PATHS_MAX = 4096
/** How often to look whether somebody else has unmounted. */
const WATCH_MS = 1000
/** How often when the end is near; libfuse removes hidden files within this time after it has stopped listening. */
const END_MS = 50

export async function mountPortable(request: MountRequest): Promise<MountedFileSystem> {
  const { fileSystem } = request
  const target = await realpath(request.target)
  // libfuse would mount on a file, too.
  if (!(await stat(target)).isDirectory()) throw new FsError('ENOTDIR', target)
  const uid = process.getuid?.() ?? 0
  const context: CallContext = { uid, gid: process.getgid?.() ?? 0, pid: 0, signal: new AbortController().signal }
  const paths = new Paths({ fileSystem, context, now: () => performance.now(), limit: PATHS_MAX })
  const calls = new PortableOperations({ fileSystem, paths, context })
  const connection = await begin({
    target,
    options: portableOptions(request, uid === 0),
    calls,
    onError: request.onError ?? (() => undefined),
    onServed: publishTo(target),
  })
  const end = new ConnectionEnd(connection)
  const closed = end.reached.then(async () => {
    connection.unref()
    await fileSystem.detach?.()
  })
  closed.catch(() => undefined) // Whoever waits for it sees the failure; nobody has to.
  try {
    // Calls come through the event loop: none has been made yet.
    fileSystem.attach?.(new PathCache(paths))
    await Promise.race([calls.initialized, endsTooSoon(closed, target)])
  } catch (error) {
    await unmount(target, { lazy: true }).catch(() => undefined)
    throw error
  }
  return {
    target,
    abilities: ABILITIES,
    limitations: LIMITATIONS,
    closed,
    async unmount() {
      if (connection.open) await unmount(target, { lazy: false })
      end.isNear()
      await closed
    },
  }
}

async function begin(mount: PortableMount): Promise<PortableConnection> {
  try {
    return connect(mount)
  } catch (error) {
    if (error instanceof PortableMountError && error.mounted) await unmount(mount.target, { lazy: true })
    throw error
  }
}

async function endsTooSoon(closed: Promise<void>, target: string): Promise<never> {
  await closed
  throw new Error(`the mount on ${target} ended before it began`)
}

/** The kernel of such a mount believes nothing; what can be taken back is our own memory of paths. */
class PathCache implements KernelCache {
  readonly can = ABILITIES
  readonly #paths: Paths

  constructor(paths: Paths) {
    this.#paths = paths
  }

  invalidateAttributes(): boolean {
    return true
  }

  async invalidateData(): Promise<void> {}

  async invalidateName(parent: NodeId, name: string): Promise<void> {
    this.#paths.dropName(parent, name)
  }

  async expireName(parent: NodeId, name: string): Promise<void> {
    this.#paths.dropName(parent, name)
  }

  async deleted(parent: NodeId, _child: NodeId, name: string): Promise<void> {
    this.#paths.dropName(parent, name)
  }

  /** There is no page cache: the mount is direct_io, and libfuse 2 could not fill one. */
  async store(): Promise<boolean> {
    return false
  }

  invalidateAllNames(): boolean {
    this.#paths.dropAll()
    return true
  }
}

/** Notices that libfuse has served its last call. It does not say so itself. */
class ConnectionEnd {
  readonly reached: Promise<void>
  readonly #connection: PortableConnection
  #timer: NodeJS.Timeout
  #resolve: () => void = () => undefined
  #quiet = false

  constructor(connection: PortableConnection) {
    this.#connection = connection
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve
    })
    // The connection itself keeps the process alive.
    this.#timer = setInterval(() => this.#look(), WATCH_MS).unref()
  }

  /** Looks more often from now on. */
  isNear(): void {
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#look(), END_MS)
  }

  #look(): void {
    const quiet = !this.#connection.open && this.#connection.waiting === 0
    if (quiet && this.#quiet) {
      clearInterval(this.#timer)
      this.#resolve()
    } else if (quiet) {
      this.isNear()
    }
    this.#quiet = quiet
  }
}

/** Options for libfuse 2, which takes those of the mount and its own in one list. */
function portableOptions({ options, source }: MountRequest, privileged: boolean): string {
  const names = ['ro', 'noexec', 'nosuid', 'nodev', 'noatime', 'sync', 'dirsync'] as const
  return [
    ...names.filter((name) => options[name]),
    // libfuse 2 says nosuid and nodev by itself, and wants an empty directory; only root may say otherwise.
    ...(privileged ? ['nonempty'] : []),
    ...(privileged && !options.nosuid ? ['suid'] : []),
    ...(privileged && !options.nodev ? ['dev'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
    // The file system does not learn who calls: where others may enter, the kernel has to check.
    ...(options.defaultPermissions || options.allowOther ? ['default_permissions'] : []),
    ...(options.maxRead === undefined ? [] : [`max_read=${options.maxRead}`]),
    `fsname=${escapeOption(options.fsname ?? source)}`,
    `subtype=${options.subtype ?? 'proteus'}`,
    'entry_timeout=0',
    'negative_timeout=0',
    'attr_timeout=0',
    'direct_io',
    'big_writes',
    'use_ino',
  ].join(',')
}

/** Reports calls to those who trace. Nodes and processes are not known here: both are 0. */
function publishTo(mount: string): PortableMount['onServed'] {
  return ({ operation, bytesAt }, args, began, error) => {
    if (!fuseChannel.hasSubscribers) return
    const [path] = args
    const bytes = bytesAt === undefined ? undefined : args[bytesAt]
    fuseChannel.publish({
      time: traceTime(),
      mount,
      op: operation,
      node: 0,
      pid: 0,
      us: (performance.now() - began) * 1000,
      ...(typeof path === 'string' ? { name: path } : {}),
      ...(typeof bytes === 'number' ? { bytes } : {}),
      ...(error === undefined ? {} : { error: error.code }),
    })
  }
}

const run = promisify(execFile)

/** Through a program, since a system call would keep this process from serving the mount's last requests. */
async function unmount(target: string, { lazy }: { lazy: boolean }): Promise<void> {
  const commands: [string, string[]][] =
    process.getuid?.() === 0
      ? [['umount', lazy ? ['-l'] : []]]
      : ['fusermount', 'fusermount3'].map((program) => [program, [lazy ? '-uz' : '-u']])
  for (const [program, args] of commands) {
    try {
      await run(program, [...args, target], { env: { ...process.env, LC_ALL: 'C' } })
      return
    } catch (cause) {
      const { code, stderr } = cause as { code?: unknown; stderr?: string }
      if (code === 'ENOENT') continue
      throw new FsError(/busy/.test(stderr ?? '') ? 'EBUSY' : 'EINVAL', stderr?.trim(), { cause })
    }
  }
  throw new FsError('ENOENT', 'unmounting needs fusermount (Debian: apt install fuse3)')
}
