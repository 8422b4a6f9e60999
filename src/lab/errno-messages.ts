// How programs spell errors: strerror(3) of glibc in the C locale, for the errors that scenarios speak of.

export const ERRNO_MESSAGES = {
  EACCES: 'Permission denied',
  EAGAIN: 'Resource temporarily unavailable',
  EBUSY: 'Device or resource busy',
  ECONNABORTED: 'Software caused connection abort',
  EDEADLK: 'Resource deadlock avoided',
  EDQUOT: 'Disk quota exceeded',
  EEXIST: 'File exists',
  EHOSTUNREACH: 'No route to host',
  EINTR: 'Interrupted system call',
  EIO: 'Input/output error',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTCONN: 'Transport endpoint is not connected',
  ENOTEMPTY: 'Directory not empty',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  ESTALE: 'Stale file handle',
  ETIMEDOUT: 'Connection timed out',
  ETXTBSY: 'Text file busy',
} as const

export type SpokenErrno = keyof typeof ERRNO_MESSAGES

/** The error that a program's messages tell of, by its name (as Python and Node print it) or its text. */
export function findErrno(text: string): SpokenErrno | undefined {
  const names = Object.keys(ERRNO_MESSAGES) as SpokenErrno[]
  return names.find((name) => text.includes(ERRNO_MESSAGES[name]) || new RegExp(`\\b${name}\\b`).test(text))
}
