// Who asks, and what POSIX lets them do. Pure decisions; the store and the servers call them.
import type { Attributes } from './attributes.ts'
import { isDirectory, S_ISVTX } from './mode.ts'

/** The identity a request is checked against. */
export interface Credentials {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups. */
  readonly groups: readonly number[]
  /** The caller has checked permissions already (the kernel, with `default_permissions`): only identity is taken from here. */
  readonly checked?: boolean
}

export const ROOT_CREDENTIALS: Credentials = { uid: 0, gid: 0, groups: [], checked: true }

export const MAY_EXEC = 1
export const MAY_WRITE = 2
export const MAY_READ = 4

type Owned = Pick<Attributes, 'mode' | 'uid' | 'gid'>

export function isSuperuser(who: Credentials): boolean {
  return who.checked === true || who.uid === 0
}

export function inGroup(who: Credentials, gid: number): boolean {
  return who.gid === gid || who.groups.includes(gid)
}

/** Whether `who` has all rights in `mask` (MAY_READ, MAY_WRITE, MAY_EXEC) on a node: POSIX.1-2017 §4.5. */
export function mayAccess(who: Credentials, node: Owned, mask: number): boolean {
  if (who.checked) return true
  if (who.uid === 0) {
    // The superuser may do anything but execute a file that nobody may execute.
    return (mask & MAY_EXEC) === 0 || isDirectory(node.mode) || (node.mode & 0o111) !== 0
  }
  const shift = who.uid === node.uid ? 6 : inGroup(who, node.gid) ? 3 : 0
  return ((node.mode >>> shift) & mask) === mask
}

export function ownsNode(who: Credentials, node: Owned): boolean {
  return isSuperuser(who) || who.uid === node.uid
}

/** Whether the sticky bit of `directory` forbids `who` to remove or rename `victim` in it. */
export function stickyForbids(who: Credentials, directory: Owned, victim: Owned): boolean {
  return (directory.mode & S_ISVTX) !== 0 && !isSuperuser(who) && who.uid !== victim.uid && who.uid !== directory.uid
}

/**
 * Whether a client may have data read or written. It checked when the file was opened, and the server does not know of
 * that: so the owner always may (RFC 1813 §4.4), and who may execute a file may read it.
 */
export function mayTransfer(who: Credentials, attributes: Owned, mask: typeof MAY_READ | typeof MAY_WRITE): boolean {
  if (who.uid === attributes.uid || mayAccess(who, attributes, mask)) return true
  return mask === MAY_READ && mayAccess(who, attributes, MAY_EXEC)
}
