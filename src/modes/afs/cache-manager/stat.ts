// fstat(2) of a cached file.
import { hostDisk, STAT } from '../../../host/disk.ts'
import type { Timespec } from '../../../posix/attributes.ts'

const stat = new Float64Array(STAT.length)

export function statOf(fd: number): { readonly size: number; readonly blocks: number; readonly mtime: Timespec } {
  hostDisk.stat(fd, stat)
  return {
    size: stat[STAT.size] as number,
    blocks: stat[STAT.blocks] as number,
    mtime: { sec: stat[STAT.mtimeSec] as number, nsec: stat[STAT.mtimeNsec] as number },
  }
}
