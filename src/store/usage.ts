// What the volume holds, and what it may hold.
import { FsError } from '../posix/errors.ts'
import { S_IFMT, S_IFREG } from '../posix/mode.ts'
import { QUOTA_BYTES, QUOTA_INODES } from './layout.ts'
import type { MetadataView } from './metadata.ts'
import { SET_META } from './schema.ts'

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

/** What the rows say. */
export function readUsage(metadata: MetadataView): Usage {
  const [inodes = 0, bytes = 0] =
    metadata
      .query<[number, number]>(`SELECT COUNT(*), SUM(CASE WHEN mode & ${S_IFMT} = ${S_IFREG} THEN size END) FROM inode`)
      .raw()
      .get() ?? []
  const limit = (key: string) => {
    const value = metadata.meta(key)
    return typeof value === 'number' ? value : undefined
  }
  return new Usage(inodes, bytes ?? 0, { bytes: limit(QUOTA_BYTES), inodes: limit(QUOTA_INODES) })
}

/** Limits the volume from now on, and when it is opened again. */
export function setQuota(metadata: MetadataView, usage: Usage, quota: Quota): void {
  for (const limit of [quota.bytes, quota.inodes]) {
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0)) throw new FsError('EINVAL', 'a quota')
  }
  metadata.run(SET_META, [QUOTA_BYTES, quota.bytes ?? null])
  metadata.run(SET_META, [QUOTA_INODES, quota.inodes ?? null])
  metadata.commit()
  usage.quota = quota
}
