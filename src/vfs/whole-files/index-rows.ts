// The rows of the index, and what they mean.
import { type CachedFile, type FileRecord, newFile } from './files.ts'

export const DATABASE = {
  what: 'the cache',
  format: 1,
  schema: `
    CREATE TABLE host (next_number INTEGER NOT NULL, boot TEXT NOT NULL) STRICT;
    INSERT INTO host VALUES (1, '');
    CREATE TABLE file (
      number INTEGER PRIMARY KEY,
      key TEXT NOT NULL,
      version INTEGER NOT NULL,
      dirty INTEGER NOT NULL,
      current INTEGER NOT NULL,
      size INTEGER NOT NULL,
      mtime_s INTEGER NOT NULL,
      mtime_ns INTEGER NOT NULL,
      allocated INTEGER NOT NULL,
      checksum INTEGER,
      status TEXT NOT NULL,
      note TEXT NOT NULL,
      pinned INTEGER NOT NULL,
      last_use_ms REAL NOT NULL,
      synced TEXT NOT NULL,
      doubtful INTEGER NOT NULL
    ) STRICT;
  `,
  pragmas: [
    // A commit waits for no device: it survives kill -9, and loss of power takes the last ones at most.
    'synchronous = NORMAL',
    'wal_autocheckpoint = 0',
  ],
}

export type Row = [
  number,
  string,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number | null,
  string,
  string,
  number,
  number,
  string,
  number,
]

export const ROW_LENGTH = 16

export function rowOf(file: CachedFile): Row {
  const { number, key, version, state, current, stamp, allocatedBytes, checksum, pinned, lastUseMs } = file
  const { size, mtimeSec, mtimeNsec } = stamp
  const texts = [JSON.stringify(file.status), JSON.stringify(file.note)] as const
  const flags = [state === 'dirty' ? 1 : 0, current ? 1 : 0] as const
  return [
    number,
    key,
    version,
    ...flags,
    size,
    mtimeSec,
    mtimeNsec,
    allocatedBytes,
    checksum ?? null,
    ...texts,
    pinned ? 1 : 0,
    lastUseMs,
    JSON.stringify(file.synced ?? null),
    file.doubtful ? 1 : 0,
  ]
}

export function fileOf(row: Row): FileRecord {
  const [number, key, version, dirty, current, size, mtimeSec, mtimeNsec, allocatedBytes, checksum, status, note] = row
  return {
    ...newFile({ number, key, version, status: JSON.parse(status) }),
    state: dirty === 1 ? 'dirty' : 'whole',
    current: current === 1,
    stamp: { size, mtimeSec, mtimeNsec },
    allocatedBytes,
    checksum: checksum ?? undefined,
    note: JSON.parse(note),
    pinned: row[12] === 1,
    lastUseMs: row[13],
    synced: JSON.parse(row[14]) ?? undefined,
    doubtful: row[15] === 1,
  }
}
