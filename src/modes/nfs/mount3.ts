// The MOUNT protocol, version 3 (RFC 1813 appendix I), as one table.
import { array, enumeration, list, nothing, opaque, struct, text, u32, union } from '../../codec/xdr.ts'
import { procedure, program } from '../../rpc/onc/program.ts'
import { NFS3_FHSIZE } from './nfs3-types.ts'

/** Appendix I §5.1.3. */
export const MOUNTSTAT3 = {
  MNT3_OK: 0,
  MNT3ERR_PERM: 1,
  MNT3ERR_NOENT: 2,
  MNT3ERR_IO: 5,
  MNT3ERR_ACCES: 13,
  MNT3ERR_NOTDIR: 20,
  MNT3ERR_INVAL: 22,
  MNT3ERR_NAMETOOLONG: 63,
  MNT3ERR_NOTSUPP: 10004,
  MNT3ERR_SERVERFAULT: 10006,
} as const
export type MountError = Exclude<keyof typeof MOUNTSTAT3, 'MNT3_OK'>

const dirpath = text(1024)
const name = text(255)
const FLAVORS_MAX = 16
const LIST_MAX = 4096

const mountres3 = union(
  'status',
  enumeration(MOUNTSTAT3),
  { MNT3_OK: { handle: opaque(NFS3_FHSIZE), flavors: array(u32, FLAVORS_MAX) } },
  {},
)

export const MOUNT3 = program('MOUNT3', 100005, 3, {
  NULL: procedure(0, nothing, nothing),
  MNT: procedure(1, dirpath, mountres3, { ifNotText: { status: 'MNT3ERR_NOENT' } }),
  DUMP: procedure(2, nothing, list(struct({ hostname: name, directory: dirpath }), LIST_MAX)),
  UMNT: procedure(3, dirpath, nothing),
  UMNTALL: procedure(4, nothing, nothing),
  EXPORT: procedure(
    5,
    nothing,
    list(struct({ directory: dirpath, groups: list(struct({ name }), LIST_MAX) }), LIST_MAX),
  ),
})
