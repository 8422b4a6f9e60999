// How an opcode is served: its shape, and the ways to make one.
import { FsError } from '../posix/errors.ts'
import type { Awaitable } from '../vfs/filesystem.ts'
import { HEADER_BYTES } from './reply.ts'
import type { Request } from './request.ts'
import type { Session } from './session.ts'

/** How an opcode is served. `R` is what the file system answers. */
export interface Operation<R = unknown> {
  readonly name: string
  /** Decodes the arguments and asks the file system. */
  readonly call: (s: Session, q: Request) => Awaitable<R>
  /**
   * Writes the body into the session's reply; returns the message's length, 0 if the reply was sent already, or a
   * negative errno.
   */
  readonly encode: (s: Session, result: R, q: Request) => number
  /** The kernel will not hear of the result: gives back the lookups and handles that the file system counted for it. */
  readonly giveBack?: (s: Session, result: R) => void
  /** The kernel expects no reply. */
  readonly silent?: boolean
  /** A promise may still read the request's bytes. */
  readonly keepsBytes?: boolean
}

export function operation<R>(
  name: string,
  call: Operation<R>['call'],
  encode: Operation<R>['encode'],
  options: Partial<Operation<R>> = {},
): Operation {
  return { name, call, encode, ...options } as unknown as Operation
}

/** An operation that answers nothing but success. */
export function command(
  name: string,
  call: (s: Session, q: Request) => Awaitable<void>,
  options: Partial<Operation<void>> = {},
): Operation {
  return operation<void>(name, call, () => HEADER_BYTES, options)
}

export function unsupported(name: string, errno: 'ENOSYS' | 'ENOTTY'): Operation {
  return command(name, () => {
    throw new FsError(errno)
  })
}

/**
 * A group that a file system may lack. ENOSYS tells the kernel not to ask again: it then says EOPNOTSUPP to programs, or
 * does without.
 */
export function optional<T>(value: T | undefined): T {
  if (value === undefined) throw new FsError('ENOSYS')
  return value
}
