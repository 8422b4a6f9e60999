// What the whole-file cache knows of each file that it holds.

/**
 * fetching: bytes arrive. whole: as the server has it in `version`. dirty: may differ from every version of the server,
 * and is kept until it is stored or given up. abandoned: its fetch ended early, and somebody still has it open.
 */
export type FileState = 'fetching' | 'whole' | 'dirty' | 'abandoned'

/** What is wrong with a file that was found damaged. `unreadable`: the host's file system gave an error. */
export type Damage = 'missing' | 'unreadable' | 'wrong content'

/** By what a change of a file is noticed that nobody told of. */
export interface Stamp {
  /** Length in bytes. */
  readonly size: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
}

export const sameStamp = (a: Stamp, b: Stamp): boolean =>
  a.size === b.size && a.mtimeSec === b.mtimeSec && a.mtimeNsec === b.mtimeNsec

/** Changed inside the cache only; others see it as `CachedFile`. */
export interface FileRecord {
  /** Names the file on the disk. Given once: never another version's, of whatever key, also after a restart. */
  readonly number: number
  /** What the mode calls the object: its fid. */
  readonly key: string
  /** The data version that it is, or, if it is dirty, was made from. */
  version: number
  state: FileState
  /** This is what opens of `key` get. Others are kept while they are open or dirty. */
  current: boolean
  /** As it was when it last was whole. */
  stamp: Stamp
  /** The last stamp that was taken of it. */
  taken: Stamp | undefined
  /** What it takes of the cache's bytes: blocks of the host's file system; while it is fetched, its length. */
  allocatedBytes: number
  /** CRC-32 of the content under `stamp`; undefined: not known yet. */
  checksum: number | undefined
  /** The mode's, kept with the file: any JSON value. */
  status: unknown
  /** What the mode noted about unstored changes: any JSON value. */
  note: unknown
  /** Not to be evicted. Belongs to the key: the next version has it, too. */
  pinned: boolean
  /** Milliseconds since the epoch. */
  lastUseMs: number
  opens: number
  /** Its content was seen to be right since the cache was opened. */
  verified: boolean
  damage: Damage | undefined
  /** What of it is on stable storage; undefined: perhaps nothing. */
  synced: Stamp | undefined
  /** Dirty, and not synced when the host stopped: parts of what was written may be lost. */
  doubtful: boolean
  /** When its content was asked for, or stored: a later one is at least as new. */
  order: number
  /** Open for reading and writing; -1: not open. */
  fd: number
}

export type CachedFile = Readonly<FileRecord>

export interface NewFile {
  readonly number: number
  readonly key: string
  readonly version: number
  readonly status?: unknown
}

export function newFile({ number, key, version, status = null }: NewFile): FileRecord {
  return {
    number,
    key,
    version,
    state: 'fetching',
    current: false,
    stamp: { size: 0, mtimeSec: 0, mtimeNsec: 0 },
    taken: undefined,
    allocatedBytes: 0,
    checksum: undefined,
    status,
    note: null,
    pinned: false,
    lastUseMs: 0,
    opens: 0,
    verified: false,
    damage: undefined,
    synced: undefined,
    doubtful: false,
    order: 0,
    fd: -1,
  }
}
