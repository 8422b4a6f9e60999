import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import {
  errnoOfStatus,
  NFSSTAT3,
  type NfsStatusName,
  statusName,
  statusOfErrno,
} from '../../../../src/modes/nfs/status-map.ts'
import { type ErrnoName, FsError } from '../../../../src/posix/errors.ts'

const STATUSES = Object.keys(NFSSTAT3) as NfsStatusName[]
const ERRNOS = [...Object.keys(constants.errno), 'EREMOTEIO', 'EUCLEAN'] as ErrnoName[]

/** Statuses whose errno also stands for another one: the way back leads there. */
const ONE_WAY: Partial<Record<NfsStatusName, NfsStatusName>> = {
  NFS3ERR_REMOTE: 'NFS3ERR_SERVERFAULT',
  NFS3ERR_BADHANDLE: 'NFS3ERR_STALE',
  NFS3ERR_NOT_SYNC: 'NFS3ERR_ACCES',
  NFS3ERR_BAD_COOKIE: 'NFS3ERR_INVAL',
  NFS3ERR_TOOSMALL: 'NFS3ERR_INVAL',
  NFS3ERR_BADTYPE: 'NFS3ERR_NOTSUPP',
}

describe('nfsstat3 and errno', () => {
  test('has the 29 statuses of RFC 1813 §2.6', () => {
    expect(STATUSES).toHaveLength(29)
    for (const name of STATUSES) expect(statusName(NFSSTAT3[name])).toBe(name)
    expect(statusName(3)).toBeUndefined()
  })

  test('every status becomes an errno of this host, and success none', () => {
    expect(errnoOfStatus(NFSSTAT3.NFS3_OK)).toBeUndefined()
    for (const name of STATUSES.slice(1)) {
      const errno = errnoOfStatus(NFSSTAT3[name])
      expect(ERRNOS).toContain(errno)
      expect(new FsError(errno as ErrnoName).errno).toBeGreaterThan(0)
    }
    for (const unknown of [3, -1, 10_000, 10_009, 2 ** 31]) expect(errnoOfStatus(unknown)).toBe('EIO')
  })

  test('every errno becomes a failure that RFC 1813 defines', () => {
    for (const errno of ERRNOS) {
      expect(statusName(statusOfErrno(errno))).toMatch(/^NFS3ERR_/)
    }
    expect(statusOfErrno('EPROTO')).toBe(NFSSTAT3.NFS3ERR_IO)
  })

  test('an errno that has a status of its own comes back as itself', () => {
    for (const name of STATUSES.slice(1)) {
      const errno = errnoOfStatus(NFSSTAT3[name])
      expect(statusOfErrno(errno as ErrnoName)).toBe(NFSSTAT3[ONE_WAY[name] ?? name])
    }
  })
})
