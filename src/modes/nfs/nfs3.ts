// NFS version 3 as one table (RFC 1813 §3.3): procedure → number, arguments, result.
//
// A result is { status: 'NFS3_OK', … } or { status: the error, … }; what stands beside an error is attributes for the
// client's cache.

import { bool, type Fields, nothing, opaque, optional, struct, u32, u64big, union } from '../../codec/xdr.ts'
import { type ArgsOf, procedure, program, type ResultOf } from '../../rpc/onc/program.ts'
import {
  cookieverf3,
  createhow3,
  dirlist3,
  dirlistplus3,
  diropargs3,
  fattr3,
  mknoddata3,
  nfs_fh3,
  nfspath3,
  nfsstat3,
  nfstime3,
  post_op_attr,
  post_op_fh3,
  sattr3,
  size3,
  stable_how,
  TRANSFER_MAX,
  wcc_data,
  writeverf3,
} from './nfs3-types.ts'
import { errnoOfStatus, NFSSTAT3, type NfsStatusName } from './status-map.ts'

/** What a result says went wrong, for traces. */
const errorOf = (result: unknown) => {
  const { status } = (result ?? { status: 'NFS3_OK' }) as { readonly status: NfsStatusName }
  return errnoOfStatus(NFSSTAT3[status])
}

/** `union switch (nfsstat3 status) { case NFS3_OK: …; default: … }`: the shape of all results. */
const result = <const Ok extends Fields, const Failed extends Fields>(ok: Ok, failed: Failed) =>
  union('status', nfsstat3, { NFS3_OK: ok }, failed)

/** What a new object is answered with (CREATE, MKDIR, SYMLINK, MKNOD). */
const created = result({ object: post_op_fh3, attributes: post_op_attr, directory: wcc_data }, { directory: wcc_data })

/** The answers to names that are not UTF-8: this server keeps none that are not. */
const NO_WCC = { before: undefined, after: undefined }
const notText = { status: 'NFS3ERR_INVAL', directory: NO_WCC } as const

const readdirArguments = { dir: nfs_fh3, cookie: u64big, verifier: cookieverf3 }

export const NFS3 = program(
  'NFS3',
  100003,
  3,
  {
    /** §3.3.0 */
    NULL: procedure(0, nothing, nothing),
    /** §3.3.1 */
    GETATTR: procedure(1, struct({ object: nfs_fh3 }), result({ attributes: fattr3 }, {})),
    /** §3.3.2. `guard`: the ctime that the object must have. */
    SETATTR: procedure(
      2,
      struct({ object: nfs_fh3, changes: sattr3, guard: optional(nfstime3) }),
      result({ wcc: wcc_data }, { wcc: wcc_data }),
      { idempotent: false },
    ),
    /** §3.3.3 */
    LOOKUP: procedure(
      3,
      struct({ what: diropargs3 }),
      result({ object: nfs_fh3, attributes: post_op_attr, directory: post_op_attr }, { directory: post_op_attr }),
      { ifNotText: { status: 'NFS3ERR_INVAL', directory: undefined } },
    ),
    /** §3.3.4 */
    ACCESS: procedure(
      4,
      struct({ object: nfs_fh3, access: u32 }),
      result({ attributes: post_op_attr, access: u32 }, { attributes: post_op_attr }),
    ),
    /** §3.3.5 */
    READLINK: procedure(
      5,
      struct({ symlink: nfs_fh3 }),
      result({ attributes: post_op_attr, data: nfspath3 }, { attributes: post_op_attr }),
    ),
    /** §3.3.6 */
    READ: procedure(
      6,
      struct({ file: nfs_fh3, offset: size3, count: u32 }),
      result(
        { attributes: post_op_attr, count: u32, eof: bool, data: opaque(TRANSFER_MAX) },
        { attributes: post_op_attr },
      ),
    ),
    /** §3.3.7 */
    WRITE: procedure(
      7,
      struct({ file: nfs_fh3, offset: size3, count: u32, stable: stable_how, data: opaque(TRANSFER_MAX) }),
      result({ wcc: wcc_data, count: u32, committed: stable_how, verifier: writeverf3 }, { wcc: wcc_data }),
    ),
    /** §3.3.8 */
    CREATE: procedure(8, struct({ where: diropargs3, how: createhow3 }), created, {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.9 */
    MKDIR: procedure(9, struct({ where: diropargs3, attributes: sattr3 }), created, {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.10 */
    SYMLINK: procedure(10, struct({ where: diropargs3, attributes: sattr3, target: nfspath3 }), created, {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.11 */
    MKNOD: procedure(11, struct({ where: diropargs3, what: mknoddata3 }), created, {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.12 */
    REMOVE: procedure(12, struct({ object: diropargs3 }), result({ directory: wcc_data }, { directory: wcc_data }), {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.13 */
    RMDIR: procedure(13, struct({ object: diropargs3 }), result({ directory: wcc_data }, { directory: wcc_data }), {
      idempotent: false,
      ifNotText: notText,
    }),
    /** §3.3.14 */
    RENAME: procedure(
      14,
      struct({ from: diropargs3, to: diropargs3 }),
      result({ fromDirectory: wcc_data, toDirectory: wcc_data }, { fromDirectory: wcc_data, toDirectory: wcc_data }),
      { idempotent: false, ifNotText: { status: 'NFS3ERR_INVAL', fromDirectory: NO_WCC, toDirectory: NO_WCC } },
    ),
    /** §3.3.15 */
    LINK: procedure(
      15,
      struct({ file: nfs_fh3, link: diropargs3 }),
      result({ attributes: post_op_attr, directory: wcc_data }, { attributes: post_op_attr, directory: wcc_data }),
      { idempotent: false, ifNotText: { status: 'NFS3ERR_INVAL', attributes: undefined, directory: NO_WCC } },
    ),
    /** §3.3.16. `count`: bytes of the whole result. */
    READDIR: procedure(
      16,
      struct({ ...readdirArguments, count: u32 }),
      result(
        { directory: post_op_attr, verifier: cookieverf3, entries: dirlist3, eof: bool },
        { directory: post_op_attr },
      ),
    ),
    /** §3.3.17. `dircount`: bytes of names, cookies and file ids; `maxcount`: of the whole result. */
    READDIRPLUS: procedure(
      17,
      struct({ ...readdirArguments, dircount: u32, maxcount: u32 }),
      result(
        { directory: post_op_attr, verifier: cookieverf3, entries: dirlistplus3, eof: bool },
        { directory: post_op_attr },
      ),
    ),
    /** §3.3.18. Sizes in bytes. */
    FSSTAT: procedure(
      18,
      struct({ root: nfs_fh3 }),
      result(
        {
          attributes: post_op_attr,
          tbytes: size3,
          fbytes: size3,
          abytes: size3,
          tfiles: size3,
          ffiles: size3,
          afiles: size3,
          invarsec: u32,
        },
        { attributes: post_op_attr },
      ),
    ),
    /** §3.3.19. Sizes in bytes. */
    FSINFO: procedure(
      19,
      struct({ root: nfs_fh3 }),
      result(
        {
          attributes: post_op_attr,
          rtmax: u32,
          rtpref: u32,
          rtmult: u32,
          wtmax: u32,
          wtpref: u32,
          wtmult: u32,
          dtpref: u32,
          maxfilesize: u64big,
          timeDelta: nfstime3,
          properties: u32,
        },
        { attributes: post_op_attr },
      ),
    ),
    /** §3.3.20 */
    PATHCONF: procedure(
      20,
      struct({ object: nfs_fh3 }),
      result(
        {
          attributes: post_op_attr,
          linkmax: u32,
          nameMax: u32,
          noTrunc: bool,
          chownRestricted: bool,
          caseInsensitive: bool,
          casePreserving: bool,
        },
        { attributes: post_op_attr },
      ),
    ),
    /** §3.3.21. `count` 0: to the end of the file. */
    COMMIT: procedure(
      21,
      struct({ file: nfs_fh3, offset: size3, count: u32 }),
      result({ wcc: wcc_data, verifier: writeverf3 }, { wcc: wcc_data }),
    ),
  },
  { errorOf },
)

export type Nfs3 = (typeof NFS3)['procedures']
export type Arguments<P extends keyof Nfs3> = ArgsOf<Nfs3[P]>
export type Result<P extends keyof Nfs3> = ResultOf<Nfs3[P]>
