// What tells a client whether a file or directory is still the one that it has in its caches.
import { compareTimespec, type Timespec } from '../posix/attributes.ts'

/** Size and times: they change with the content (wcc_attr, RFC 1813 §2.6). Every `Attributes` has them. */
export interface ChangeAttributes {
  /** Bytes. */
  readonly size: number
  readonly mtime: Timespec
  readonly ctime: Timespec
}

export function sameChange(a: ChangeAttributes, b: ChangeAttributes): boolean {
  return sameContent(a, b) && compareTimespec(a.ctime, b.ctime) === 0
}

/** Whether what it contains is the same; the ctime moves with names and modes, too. */
export function sameContent(a: ChangeAttributes, b: ChangeAttributes): boolean {
  return a.size === b.size && compareTimespec(a.mtime, b.mtime) === 0
}

/** Nothing but the change attributes of `attributes`: to keep, and to show. */
export function changeAttributes({ size, mtime, ctime }: ChangeAttributes): ChangeAttributes {
  return { size, mtime, ctime }
}
