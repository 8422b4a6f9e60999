// Mounts a FileSystem on a directory, through the driver that is asked for.
import type { FileSystem, KernelAbilities } from '../vfs/filesystem.ts'

/** Mount options as mount(8) and mount.fuse name them. */
export interface MountFlags {
  readonly ro?: boolean
  readonly noexec?: boolean
  readonly nosuid?: boolean
  readonly nodev?: boolean
  readonly noatime?: boolean
  readonly sync?: boolean
  readonly dirsync?: boolean
  /** Users other than the one who mounts may enter. */
  readonly allowOther?: boolean
  /** The kernel checks permissions from the attributes. */
  readonly defaultPermissions?: boolean
  /** What /proc/mounts shows as the device; the request's `source` if absent. */
  readonly fsname?: string
  /** The type is shown as `fuse.<subtype>`; `proteus` if absent. */
  readonly subtype?: string
  /** Largest read request in bytes. */
  readonly maxRead?: number
}

export interface MountRequest {
  readonly fileSystem: FileSystem
  /** An existing directory. */
  readonly target: string
  readonly driver: 'kernel' | 'portable'
  /** Names the file system, e.g. `proteus:local`. */
  readonly source: string
  readonly options: MountFlags
  /** How long the event loop stays awake after a request, in microseconds; 0: never. */
  readonly spinUs?: number
  /** A defect that callers only see as EIO. */
  readonly onError?: (error: Error) => void
}

export interface MountedFileSystem {
  readonly target: string
  readonly abilities: KernelAbilities
  /** What this driver cannot do, in sentences for the user. */
  readonly limitations: readonly string[]
  /** Unmounts and waits until the file system is detached. EBUSY while programs use the mount. */
  unmount(): Promise<void>
  /** The mount is gone, by `unmount` or otherwise. */
  readonly closed: Promise<void>
}

/** Mounts; resolves when the kernel and the file system have agreed. */
export async function mount(request: MountRequest): Promise<MountedFileSystem> {
  // A driver is loaded only when it is used: the portable one needs libfuse2.
  if (request.driver === 'kernel') return (await import('./kernel.ts')).mountKernel(request)
  return (await import('./portable.ts')).mountPortable(request)
}
