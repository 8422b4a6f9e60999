// What must hold in every volume, asked of a database that was filled from a dump: names lead to inodes, directories are
// one tree, links are counted right. Throws DumpError for the first thing that does not.
import type SqliteDatabase from 'better-sqlite3'
import { direntType, S_IFDIR, S_IFMT } from '../posix/mode.ts'
import { DumpError } from './dump-records.ts'
import { ROOT_INODE } from './layout.ts'

const DT_DIR = direntType(S_IFDIR)
const isDirectory = (inode: string) => `${inode}.mode & ${S_IFMT} = ${S_IFDIR}`

/** Queries for what must not be there, and what it would be. */
const FORBIDDEN: readonly (readonly [string, string])[] = [
  [
    'a name that leads nowhere, or to another type',
    `SELECT 1 FROM dirent d LEFT JOIN inode i ON i.ino = d.ino
     WHERE i.ino IS NULL OR (i.mode & ${S_IFMT}) >> 12 != d.type`,
  ],
  [
    'a name in what is no directory',
    `SELECT 1 FROM dirent d LEFT JOIN inode p ON p.ino = d.parent WHERE p.ino IS NULL OR NOT (${isDirectory('p')})`,
  ],
  ['two entries of one name', 'SELECT 1 FROM dirent GROUP BY parent, name HAVING COUNT(*) > 1'],
  [
    'a directory with more or fewer names than one, or another parent',
    `SELECT 1 FROM inode i WHERE ${isDirectory('i')} AND
       (SELECT COUNT(*) FROM dirent d WHERE d.ino = i.ino AND d.parent = i.parent) != (i.ino != ${ROOT_INODE})
     UNION ALL SELECT 1 FROM inode i JOIN dirent d ON d.ino = i.ino WHERE ${isDirectory('i')} AND d.parent != i.parent`,
  ],
  [
    'a root that is no directory, or not its own parent',
    `SELECT 1 WHERE NOT EXISTS
       (SELECT 1 FROM inode r WHERE r.ino = ${ROOT_INODE} AND r.parent = r.ino AND ${isDirectory('r')})`,
  ],
  [
    'a wrong number of links',
    `SELECT 1 FROM inode i WHERE i.nlink != CASE WHEN ${isDirectory('i')}
       THEN 2 + (SELECT COUNT(*) FROM dirent d WHERE d.parent = i.ino AND d.type = ${DT_DIR})
       ELSE (SELECT COUNT(*) FROM dirent d WHERE d.ino = i.ino) END OR i.nlink = 0`,
  ],
  [
    'directories that the root does not lead to',
    `WITH RECURSIVE reached(ino) AS (SELECT ${ROOT_INODE} UNION
       SELECT d.ino FROM dirent d JOIN reached ON d.parent = reached.ino WHERE d.type = ${DT_DIR})
     SELECT 1 FROM inode i WHERE ${isDirectory('i')} AND i.ino NOT IN (SELECT ino FROM reached)`,
  ],
  [
    'a wrong number of extended attributes',
    `SELECT 1 FROM inode i WHERE i.xattrs != (SELECT COUNT(*) FROM xattr x WHERE x.ino = i.ino)
     UNION ALL SELECT 1 FROM xattr x WHERE x.ino NOT IN (SELECT ino FROM inode)`,
  ],
]

export function checkRestored(database: SqliteDatabase.Database): void {
  database.exec('CREATE INDEX restored_entries ON dirent (ino)')
  for (const [what, query] of FORBIDDEN) {
    if (database.prepare(`${query} LIMIT 1`).get() !== undefined) throw new DumpError(`the dump has ${what}`)
  }
  database.exec('DROP INDEX restored_entries')
}
