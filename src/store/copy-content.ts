// Copies content files: by sharing their blocks where the host file system can, else by copying what they hold, so that
// holes stay holes.
import { constants } from 'node:fs'
import { type Disk, STAT } from '../host/disk.ts'
import { FsError } from '../posix/errors.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4
/** Copied by one system call. */
const STEP_BYTES = 1 << 30
const MAKE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL

/**
 * Makes the file `path` with the bytes of `fromFd`, and its times; what was there before under that name goes. Returns its
 * descriptor. If that fails, there is no file.
 */
export function copyContent(disk: Disk, fromFd: number, path: string): number {
  remove(disk, path)
  const fd = disk.open(path, MAKE, 0o600)
  try {
    const stat = new Float64Array(STAT.length)
    disk.stat(fromFd, stat)
    copyBytes(disk, fromFd, fd, stat[STAT.size] ?? 0)
    const time = (at: number) => [stat[at] ?? 0, stat[at + 1] ?? 0] as const
    disk.utimens(fd, ...time(STAT.atimeSec), ...time(STAT.mtimeSec))
    return fd
  } catch (error) {
    disk.close(fd)
    remove(disk, path)
    throw FsError.from(error)
  }
}

export function remove(disk: Disk, path: string): void {
  try {
    disk.unlink(path)
  } catch (error) {
    if (FsError.from(error).code !== 'ENOENT') throw error
  }
}

function copyBytes(disk: Disk, from: number, to: number, size: number): void {
  try {
    disk.clone(from, to)
    return
  } catch {
    // The host cannot share blocks.
  }
  for (let at = 0; at < size; ) {
    const start = nextData(disk, from, at)
    if (start === undefined) break
    const end = Math.min(size, disk.seek(from, start, SEEK_HOLE))
    at = start
    while (at < end) {
      const copied = disk.copyRange(from, at, to, at, Math.min(STEP_BYTES, end - at))
      // Somebody has cut it off meanwhile.
      if (copied === 0) break
      at += copied
    }
    if (at < end) break
  }
  disk.truncate(to, size)
}

function nextData(disk: Disk, fd: number, from: number): number | undefined {
  try {
    return disk.seek(fd, from, SEEK_DATA)
  } catch (error) {
    if (FsError.from(error).code === 'ENXIO') return undefined
    throw error
  }
}
