// What a volume's database holds, and every statement that changes it.
//
// The journal names statements by their number in `STATEMENTS`: a journal written by one version of the program is
// replayed by the next. So numbers are given once: add at the end, and raise FORMAT when a meaning changes.

export const FORMAT = 1
/** The same in a clone, which nobody may change. */
export const CLONE_FORMAT = FORMAT + 0x10000
/** In the place of the format while a clone or a restored volume is made: nobody may open it. */
export const UNFINISHED = 0x7fffffff

/**
 * inode: what has a name. An inode without one (open but unlinked, O_TMPFILE) lives in memory only.
 *   size … mtime of regular files are what the content file said when it was last closed; the file itself is the truth.
 *   parent: of directories, where `..` leads. content: names the content file. xattrs: how many there are.
 * dirent: `cookie` is the entry's position in its directory (see names.ts), so that a listing goes on where it stopped
 *   whatever was added or removed meanwhile.
 */
export const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE inode (
    ino INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    nlink INTEGER NOT NULL,
    rdev INTEGER NOT NULL,
    size INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    atime_s INTEGER NOT NULL, atime_ns INTEGER NOT NULL,
    mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_s INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    btime_s INTEGER NOT NULL, btime_ns INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    change INTEGER NOT NULL,
    data_version INTEGER NOT NULL,
    xattrs INTEGER NOT NULL,
    content INTEGER NOT NULL,
    target TEXT
  ) STRICT;
  CREATE TABLE dirent (
    parent INTEGER NOT NULL,
    cookie INTEGER NOT NULL,
    name TEXT NOT NULL,
    ino INTEGER NOT NULL,
    type INTEGER NOT NULL,
    PRIMARY KEY (parent, cookie)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE xattr (
    ino INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (ino, name)
  ) STRICT, WITHOUT ROWID;
`

export const SET_META = 0
export const INSERT_INODE = 1
export const DELETE_INODE = 2
/** Everything about an inode that can change. */
export const UPDATE_INODE = 3
/** What a new, removed or renamed entry changes of its directory. */
export const TOUCH_DIRECTORY = 4
/** What a new, removed or changed name changes of the inode that it names. */
export const UPDATE_LINKS = 5
export const INSERT_ENTRY = 6
export const DELETE_ENTRY = 7
/** Makes an entry name another inode. */
export const UPDATE_ENTRY = 8
export const SET_XATTR = 9
export const DELETE_XATTR = 10
export const DELETE_XATTRS = 11
export const DELETE_META = 12

const INODE_ROW = `INTO inode (ino, generation, mode, uid, gid, nlink, rdev, size, blocks, atime_s, atime_ns, mtime_s,
  mtime_ns, ctime_s, ctime_ns, btime_s, btime_ns, parent, change, data_version, xattrs, content, target)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
const ENTRY_ROW = 'INTO dirent (parent, cookie, name, ino, type) VALUES (?, ?, ?, ?, ?)'

/** Not in the journal: rows as they are by now, whether they are there already or not. Parameters as of INSERT_…. */
export const PUT_INODE = `REPLACE ${INODE_ROW}`
export const PUT_ENTRY = `REPLACE ${ENTRY_ROW}`

export const STATEMENTS: readonly string[] = [
  'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  `INSERT ${INODE_ROW}`,
  'DELETE FROM inode WHERE ino = ?',
  `UPDATE inode SET mode = ?, uid = ?, gid = ?, nlink = ?, size = ?, blocks = ?, atime_s = ?, atime_ns = ?,
     mtime_s = ?, mtime_ns = ?, ctime_s = ?, ctime_ns = ?, change = ?, data_version = ?, xattrs = ?, content = ?
     WHERE ino = ?`,
  'UPDATE inode SET nlink = ?, mtime_s = ?, mtime_ns = ?, ctime_s = ?, ctime_ns = ?, change = ? WHERE ino = ?',
  'UPDATE inode SET nlink = ?, parent = ?, ctime_s = ?, ctime_ns = ?, change = ? WHERE ino = ?',
  `INSERT ${ENTRY_ROW}`,
  'DELETE FROM dirent WHERE parent = ? AND cookie = ?',
  'UPDATE dirent SET ino = ?, type = ? WHERE parent = ? AND cookie = ?',
  'INSERT INTO xattr (ino, name, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  'DELETE FROM xattr WHERE ino = ? AND name = ?',
  'DELETE FROM xattr WHERE ino = ?',
  'DELETE FROM meta WHERE key = ?',
]
