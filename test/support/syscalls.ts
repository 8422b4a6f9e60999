// The system calls that posix.py makes, with their arguments, and the constants they take (Linux, 64 bit).
// Byte strings are latin-1: one character per byte. Each call fails with SyscallError.

export interface Credentials {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups; none unless given. */
  readonly groups?: readonly number[]
  readonly umask?: number
}

export interface Stat {
  readonly mode: number
  readonly ino: number
  readonly dev: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly size: number
  readonly blocks: number
  readonly blksize: number
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export interface StatVfs {
  readonly bsize: number
  readonly frsize: number
  readonly blocks: number
  readonly bfree: number
  readonly bavail: number
  readonly files: number
  readonly ffree: number
  readonly namemax: number
}

export interface DirectoryEntry {
  readonly name: string
  readonly ino: number
  /** d_type. */
  readonly type: number
}

export interface LockState {
  readonly kind: number
  readonly start: number
  readonly length: number
  readonly pid: number
}

/** Nanoseconds since the epoch, or UTIME_NOW, or UTIME_OMIT. */
export type Time = bigint | 'now' | 'omit'

type Descriptor = number
type Mapping = number
type Stream = number

export interface Syscalls {
  /** Closes everything, umask 022, working directory /. */
  reset(): Promise<void>
  pid(): Promise<number>
  open(path: string, flags: number, mode?: number): Promise<Descriptor>
  openAt(path: string, flags: number, mode: number, directory: Descriptor): Promise<Descriptor>
  close(fd: Descriptor): Promise<void>
  dup(fd: Descriptor): Promise<Descriptor>
  read(fd: Descriptor, length: number): Promise<string>
  pread(fd: Descriptor, length: number, offset: number): Promise<string>
  write(fd: Descriptor, data: string): Promise<number>
  pwrite(fd: Descriptor, data: string, offset: number): Promise<number>
  writev(fd: Descriptor, parts: string[]): Promise<number>
  readv(fd: Descriptor, lengths: number[]): Promise<string>
  /** With a page-aligned buffer, for O_DIRECT. */
  directRead(fd: Descriptor, offset: number, length: number): Promise<string>
  directWrite(fd: Descriptor, offset: number, data: string): Promise<number>
  lseek(fd: Descriptor, offset: number, whence: number): Promise<number>
  truncate(path: string, size: number): Promise<void>
  ftruncate(fd: Descriptor, size: number): Promise<void>
  fallocate(fd: Descriptor, mode: number, offset: number, length: number): Promise<void>
  fsync(fd: Descriptor): Promise<void>
  fdatasync(fd: Descriptor): Promise<void>
  syncfs(fd: Descriptor): Promise<void>
  copyFileRange(
    source: Descriptor,
    sourceOffset: number,
    target: Descriptor,
    targetOffset: number,
    length: number,
  ): Promise<number>
  sendfile(target: Descriptor, source: Descriptor, offset: number, length: number): Promise<number>
  ioctl(fd: Descriptor, request: number): Promise<number>
  stat(path: string): Promise<Stat>
  lstat(path: string): Promise<Stat>
  fstat(fd: Descriptor): Promise<Stat>
  statvfs(path: string): Promise<StatVfs>
  access(path: string, mode: number): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  fchmod(fd: Descriptor, mode: number): Promise<void>
  chown(path: string, uid: number, gid: number): Promise<void>
  lchown(path: string, uid: number, gid: number): Promise<void>
  fchown(fd: Descriptor, uid: number, gid: number): Promise<void>
  utimens(path: string, atime: Time, mtime: Time, follow?: boolean): Promise<void>
  umask(mask: number): Promise<number>
  mkdir(path: string, mode?: number): Promise<void>
  rmdir(path: string): Promise<void>
  chdir(path: string): Promise<void>
  getcwd(): Promise<string>
  /** Names in order, without '.' and '..'. */
  readdir(path: string): Promise<string[]>
  /** Entries as they come, with '.' and '..'. */
  readdirAll(path: string): Promise<DirectoryEntry[]>
  opendir(path: string): Promise<Stream>
  readdirNext(stream: Stream): Promise<DirectoryEntry | null>
  telldir(stream: Stream): Promise<string>
  seekdir(stream: Stream, where: string): Promise<void>
  rewinddir(stream: Stream): Promise<void>
  unlink(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  renameat2(from: string, to: string, flags: number): Promise<void>
  link(old: string, name: string): Promise<void>
  /** Gives an open file a name (linkat through /proc/self/fd). */
  linkDescriptor(fd: Descriptor, name: string): Promise<void>
  symlink(target: string, path: string): Promise<void>
  readlink(path: string): Promise<string>
  mkfifo(path: string, mode?: number): Promise<void>
  mknod(path: string, mode: number, major?: number, minor?: number): Promise<void>
  /** Makes a Unix socket. */
  bind(path: string): Promise<void>
  /** Makes a Unix socket, connects to it, and returns what came through: 'through'. */
  connectThrough(path: string): Promise<string>
  getxattr(path: string, name: string, follow?: boolean): Promise<string>
  setxattr(path: string, name: string, value: string, flags?: number, follow?: boolean): Promise<void>
  listxattr(path: string): Promise<string[]>
  removexattr(path: string, name: string): Promise<void>
  flock(fd: Descriptor, operation: number): Promise<void>
  /** fcntl(2) with a command of F, a kind of F and a range; length 0: to the end of the file. */
  lock(fd: Descriptor, command: number, kind: number, start?: number, length?: number): Promise<LockState>
  /** A mapping from offset 0. */
  mmap(fd: Descriptor, length: number, writable?: boolean, shared?: boolean): Promise<Mapping>
  mmapRead(mapping: Mapping, offset: number, length: number): Promise<string>
  mmapWrite(mapping: Mapping, offset: number, data: string): Promise<void>
  msync(mapping: Mapping): Promise<void>
  munmap(mapping: Mapping): Promise<void>
}

/** open(2) flags. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECT: 0o40000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  PATH: 0o10000000,
  TMPFILE: 0o20200000,
} as const

/** access(2). */
export const R_OK = 4
export const W_OK = 2
export const X_OK = 1

/** lseek(2). */
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const

/** fallocate(2). */
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const

/** renameat2(2). */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const

/** setxattr(2). */
export const XATTR = { CREATE: 1, REPLACE: 2 } as const

/** flock(2). */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const

/** fcntl(2) locks. */
export const F = {
  GETLK: 5,
  SETLK: 6,
  SETLKW: 7,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  OFD_SETLKW: 38,
  RDLCK: 0,
  WRLCK: 1,
  UNLCK: 2,
} as const
