// Extended attributes, with the limits and errors of xattr(7).
import type SqliteDatabase from 'better-sqlite3'
import { withChanges } from '../posix/attributes.ts'
import { type Credentials, isSuperuser, MAY_READ, MAY_WRITE, ownsNode } from '../posix/credentials.ts'
import { FsError } from '../posix/errors.ts'
import { isDirectory, isRegular, S_ISVTX } from '../posix/mode.ts'
import { type Inode, updateParameters } from './inode.ts'
import type { Parameter } from './journal.ts'
import type { MetadataView } from './metadata.ts'
import { type Parts, timeNow } from './parts.ts'
import { requireAccess } from './permissions.ts'
import { DELETE_XATTR, SET_XATTR, UPDATE_INODE } from './schema.ts'

export const XATTR_NAME_MAX = 255
/** Longest value, and longest list of names with a NUL after each, in bytes. */
export const XATTR_SIZE_MAX = 65_536
export const XATTR_LIST_MAX = 65_536

/** 'create' fails with EEXIST if it is there, 'replace' with ENODATA if it is not. */
export type XattrMode = 'create' | 'replace' | 'either'

/** What is asked of the database. */
export interface XattrQueries {
  readonly value: SqliteDatabase.Statement<Parameter[], Uint8Array>
  readonly names: SqliteDatabase.Statement<Parameter[], string>
  readonly all: SqliteDatabase.Statement<Parameter[], { readonly name: string; readonly value: Uint8Array }>
}

export function prepareXattrQueries(metadata: MetadataView): XattrQueries {
  return {
    value: metadata.query<Uint8Array>('SELECT value FROM xattr WHERE ino = ? AND name = ?').pluck(),
    names: metadata.query<string>('SELECT name FROM xattr WHERE ino = ?').pluck(),
    all: metadata.query('SELECT name, value FROM xattr WHERE ino = ?'),
  }
}

/** The value; undefined if there is none, or none that `who` may know of. */
export function getXattr(parts: Parts, ino: number, name: string, who: Credentials): Uint8Array | undefined {
  const inode = parts.inodes.get(ino)
  const space = spaceOf(name)
  if (space === 'trusted' && !isSuperuser(who)) return undefined
  if (space === 'user') {
    if (!holdsUserXattrs(inode)) return undefined
    requireAccess(inode, who, MAY_READ)
  }
  return inode.xattrs === 0 ? undefined : find(parts, inode, name)
}

export function listXattrs(parts: Parts, ino: number, who: Credentials): string[] {
  const inode = parts.inodes.get(ino)
  const all = namesOf(parts, inode)
  return isSuperuser(who) ? all : all.filter((name) => !name.startsWith('trusted.'))
}

export interface SettingXattr {
  readonly name: string
  readonly value: Uint8Array
  readonly mode: XattrMode
}

export function setXattr(parts: Parts, ino: number, setting: SettingXattr, who: Credentials): void {
  const { name, value, mode } = setting
  const inode = parts.inodes.get(ino)
  requireChangeable(inode, name, who)
  if (value.length > XATTR_SIZE_MAX) throw new FsError('E2BIG')
  const present = namesOf(parts, inode)
  const exists = present.includes(name)
  if (mode === 'create' && exists) throw new FsError('EEXIST')
  if (mode === 'replace' && !exists) throw new FsError('ENODATA')
  if (!exists && listBytes(present) + listBytes([name]) > XATTR_LIST_MAX) throw new FsError('ENOSPC')
  parts.metadata.requireRoom()
  if (inode.unnamed) inode.unnamed.xattrs.set(name, Uint8Array.from(value))
  else parts.metadata.run(SET_XATTR, [ino, name, value])
  changed(parts, inode, exists ? 0 : 1)
}

export function removeXattr(parts: Parts, ino: number, name: string, who: Credentials): void {
  const inode = parts.inodes.get(ino)
  requireChangeable(inode, name, who)
  if (inode.xattrs === 0 || !find(parts, inode, name)) throw new FsError('ENODATA')
  if (inode.unnamed) inode.unnamed.xattrs.delete(name)
  else parts.metadata.run(DELETE_XATTR, [ino, name])
  changed(parts, inode, -1)
}

function namesOf(parts: Parts, inode: Inode): string[] {
  if (inode.xattrs === 0) return []
  return inode.unnamed ? [...inode.unnamed.xattrs.keys()] : parts.xattrs.names.all(inode.ino)
}

/** Every attribute of an inode; the map is a copy. */
export function allXattrs(parts: Parts, inode: Inode): Map<string, Uint8Array> {
  if (inode.xattrs === 0) return new Map()
  if (inode.unnamed) return new Map(inode.unnamed.xattrs)
  return new Map(parts.xattrs.all.all(inode.ino).map(({ name, value }) => [name, value]))
}

function find(parts: Parts, inode: Inode, name: string): Uint8Array | undefined {
  return inode.unnamed ? inode.unnamed.xattrs.get(name) : parts.xattrs.value.get(inode.ino, name)
}

/** The rest of an operation that changed an attribute. */
function changed(parts: Parts, inode: Inode, count: number): void {
  const { metadata, notices } = parts
  const attributes = withChanges(inode.attributes, { ctime: timeNow(parts) })
  const counters = { change: inode.change + 1, dataVersion: inode.dataVersion, xattrs: inode.xattrs + count }
  if (!inode.unnamed) {
    metadata.run(UPDATE_INODE, updateParameters(inode, attributes, counters), inode)
    metadata.commit()
  }
  inode.attributes = attributes
  inode.change = counters.change
  inode.xattrs = counters.xattrs
  notices.attributes(inode.ino)
}

type Space = 'user' | 'trusted' | 'security'

/** Throws unless an attribute may be called so. */
export const checkXattrName = (name: string): void => void spaceOf(name)

/** The namespace of a name. Throws for a name that is none, or of a namespace that is not kept here. */
function spaceOf(name: string): Space {
  if (name === '' || Buffer.byteLength(name) > XATTR_NAME_MAX) throw new FsError('ERANGE')
  if (name.includes('\0')) throw new FsError('EINVAL')
  if (!name.isWellFormed()) throw new FsError('EILSEQ')
  for (const space of ['user', 'trusted', 'security'] as const) {
    if (!name.startsWith(`${space}.`)) continue
    if (name.length === space.length + 1) throw new FsError('EINVAL')
    return space
  }
  throw new FsError('EOPNOTSUPP')
}

function requireChangeable(inode: Inode, name: string, who: Credentials): void {
  if (spaceOf(name) !== 'user') {
    if (!isSuperuser(who)) throw new FsError('EPERM')
    return
  }
  if (!holdsUserXattrs(inode)) throw new FsError('EPERM')
  const { mode } = inode.attributes
  // Anybody may write a sticky directory, but its attributes are its owner's.
  if (isDirectory(mode) && (mode & S_ISVTX) !== 0 && !ownsNode(who, inode.attributes)) throw new FsError('EPERM')
  requireAccess(inode, who, MAY_WRITE)
}

const holdsUserXattrs = (inode: Inode): boolean =>
  isRegular(inode.attributes.mode) || isDirectory(inode.attributes.mode)

function listBytes(names: readonly string[]): number {
  let bytes = 0
  for (const name of names) bytes += Buffer.byteLength(name) + 1
  return bytes
}
