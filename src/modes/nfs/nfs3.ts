// NFS version 3 as one table (RFC 1813 §3.3): procedure → number, arguments, result.
//
// A result is { status: 'NFS3_OK', … } or { status: the error, … }; what stands beside an error is attributes for the
// client's cache.
import { bool, type Fields, nothing, opaque, optional, struct, u32, u64, u64big, union } from '../../codec/xdr.ts'
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
  stable_how,
  TRANSFER_MAX,
  wcc_data,
  writeverf3,
} from './nfs3-types.ts'

export const NFS_PROGRAM = 100003
export const NFS_VERSION = 3

/** `union switch (nfsstat3 status) { case NFS3_OK: …; default: … }`: the shape of all results. */
const result = <const Ok extends Fields, const Failed extends Fields>(ok: Ok, failed: Failed) =>
  union('status', nfsstat3, { NFS3_OK: ok }, failed)

/** What a new object is answered with (CREATE, MKDIR, SYMLINK, MKNOD). */
const created = result({ object: post_op_fh3, attributes: post_op_attr, directory: wcc_data }, { directory: wcc_data })

const readdirArguments = { dir: nfs_fh3, cookie: u64big, verifier: cookieverf3 }

export const NFS3_PROCEDURES = {
  /** §3.3.0 */
  NULL: { number: 0, arguments: nothing, result: nothing },
  /** §3.3.1 */
  GETATTR: { number: 1, arguments: struct({ object: nfs_fh3 }), result: result({ attributes: fattr3 }, {}) },
  /** §3.3.2. `guard`: the ctime that the object must have. */
  SETATTR: {
    number: 2,
    arguments: struct({ object: nfs_fh3, changes: sattr3, guard: optional(nfstime3) }),
    result: result({ wcc: wcc_data }, { wcc: wcc_data }),
    idempotent: false,
  },
  /** §3.3.3 */
  LOOKUP: {
    number: 3,
    arguments: struct({ what: diropargs3 }),
    result: result({ object: nfs_fh3, attributes: post_op_attr, directory: post_op_attr }, { directory: post_op_attr }),
  },
  /** §3.3.4 */
  ACCESS: {
    number: 4,
    arguments: struct({ object: nfs_fh3, access: u32 }),
    result: result({ attributes: post_op_attr, access: u32 }, { attributes: post_op_attr }),
  },
  /** §3.3.5 */
  READLINK: {
    number: 5,
    arguments: struct({ symlink: nfs_fh3 }),
    result: result({ attributes: post_op_attr, data: nfspath3 }, { attributes: post_op_attr }),
  },
  /** §3.3.6 */
  READ: {
    number: 6,
    arguments: struct({ file: nfs_fh3, offset: u64, count: u32 }),
    result: result(
      { attributes: post_op_attr, count: u32, eof: bool, data: opaque(TRANSFER_MAX) },
      { attributes: post_op_attr },
    ),
  },
  /** §3.3.7 */
  WRITE: {
    number: 7,
    arguments: struct({ file: nfs_fh3, offset: u64, count: u32, stable: stable_how, data: opaque(TRANSFER_MAX) }),
    result: result({ wcc: wcc_data, count: u32, committed: stable_how, verifier: writeverf3 }, { wcc: wcc_data }),
  },
  /** §3.3.8 */
  CREATE: {
    number: 8,
    arguments: struct({ where: diropargs3, how: createhow3 }),
    result: created,
    idempotent: false,
  },
  /** §3.3.9 */
  MKDIR: {
    number: 9,
    arguments: struct({ where: diropargs3, attributes: sattr3 }),
    result: created,
    idempotent: false,
  },
  /** §3.3.10 */
  SYMLINK: {
    number: 10,
    arguments: struct({ where: diropargs3, attributes: sattr3, target: nfspath3 }),
    result: created,
    idempotent: false,
  },
  /** §3.3.11 */
  MKNOD: {
    number: 11,
    arguments: struct({ where: diropargs3, what: mknoddata3 }),
    result: created,
    idempotent: false,
  },
  /** §3.3.12 */
  REMOVE: {
    number: 12,
    arguments: struct({ object: diropargs3 }),
    result: result({ directory: wcc_data }, { directory: wcc_data }),
    idempotent: false,
  },
  /** §3.3.13 */
  RMDIR: {
    number: 13,
    arguments: struct({ object: diropargs3 }),
    result: result({ directory: wcc_data }, { directory: wcc_data }),
    idempotent: false,
  },
  /** §3.3.14 */
  RENAME: {
    number: 14,
    arguments: struct({ from: diropargs3, to: diropargs3 }),
    result: result(
      { fromDirectory: wcc_data, toDirectory: wcc_data },
      { fromDirectory: wcc_data, toDirectory: wcc_data },
    ),
    idempotent: false,
  },
  /** §3.3.15 */
  LINK: {
    number: 15,
    arguments: struct({ file: nfs_fh3, link: diropargs3 }),
    result: result(
      { attributes: post_op_attr, directory: wcc_data },
      { attributes: post_op_attr, directory: wcc_data },
    ),
    idempotent: false,
  },
  /** §3.3.16. `count`: bytes of the whole result. */
  READDIR: {
    number: 16,
    arguments: struct({ ...readdirArguments, count: u32 }),
    result: result(
      { directory: post_op_attr, verifier: cookieverf3, entries: dirlist3, eof: bool },
      { directory: post_op_attr },
    ),
  },
  /** §3.3.17. `dircount`: bytes of names, cookies and file ids; `maxcount`: of the whole result. */
  READDIRPLUS: {
    number: 17,
    arguments: struct({ ...readdirArguments, dircount: u32, maxcount: u32 }),
    result: result(
      { directory: post_op_attr, verifier: cookieverf3, entries: dirlistplus3, eof: bool },
      { directory: post_op_attr },
    ),
  },
  /** §3.3.18. Sizes in bytes. */
  FSSTAT: {
    number: 18,
    arguments: struct({ root: nfs_fh3 }),
    result: result(
      {
        attributes: post_op_attr,
        tbytes: u64,
        fbytes: u64,
        abytes: u64,
        tfiles: u64,
        ffiles: u64,
        afiles: u64,
        invarsec: u32,
      },
      { attributes: post_op_attr },
    ),
  },
  /** §3.3.19. Sizes in bytes. */
  FSINFO: {
    number: 19,
    arguments: struct({ root: nfs_fh3 }),
    result: result(
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
  },
  /** §3.3.20 */
  PATHCONF: {
    number: 20,
    arguments: struct({ object: nfs_fh3 }),
    result: result(
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
  },
  /** §3.3.21. `count` 0: to the end of the file. */
  COMMIT: {
    number: 21,
    arguments: struct({ file: nfs_fh3, offset: u64, count: u32 }),
    result: result({ wcc: wcc_data, verifier: writeverf3 }, { wcc: wcc_data }),
  },
} as const
