// What the volume holds, and what it may hold.
import { FsError } from '../posix/errors.ts'

/** Limits of a volume; undefined: none but the host's. */
export interface Quota {
  /** Sum of the sizes of all regular files. */
  readonly bytes: number | undefined
  readonly inodes: number | undefined
}

export class Usage {
  inodes: number
  bytes: number
  quota: Quota

  constructor(inodes: number, bytes: number, quota: Quota) {
    this.inodes = inodes
    this.bytes = bytes
    this.quota = quota
  }

  /** Throws EDQUOT if there is no room for one more inode. */
  checkInode(): void {
    if (this.quota.inodes !== undefined && this.inodes >= this.quota.inodes) throw new FsError('EDQUOT')
  }

  /** How many more bytes there is room for. */
  get freeBytes(): number {
    return this.quota.bytes === undefined ? Number.POSITIVE_INFINITY : Math.max(0, this.quota.bytes - this.bytes)
  }

  /** Throws EDQUOT if a file may not grow by `bytes`. Any file may shrink. */
  checkGrowth(bytes: number): void {
    if (bytes > 0 && bytes > this.freeBytes) throw new FsError('EDQUOT')
  }
}
