// The programs that an NFS server serves, bound to a volume: MOUNT tells the first handle, NFS does the rest.

import type { Credentials } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { AUTH_SYS, type Caller as Claim } from '../../rpc/onc/auth.ts'
import { type OncContext, type Service, service } from '../../rpc/onc/service.ts'
import { MOUNT3, MOUNTSTAT3, type MountError } from './mount3.ts'
import { NFS3 } from './nfs3.ts'
import type { ExportedTree } from './nfs3-calls.ts'
import { type Caller, NfsCalls, type NfsServerParts } from './nfs3-calls.ts'
import * as changes from './nfs3-changes.ts'
import { readdir, readdirplus } from './nfs3-directories.ts'
import * as queries from './nfs3-queries.ts'
import { TRANSFER_MAX } from './nfs3-types.ts'
import { commit, write } from './nfs3-writes.ts'

/** Data in one UDP call: what fits into a datagram beside the headers (RFC 1813 §4.1). */
const UDP_TRANSFER = 32 * 1024

/** AUTH_SYS is believed. */
const credentialsOf = (claim: Claim): Credentials | undefined =>
  claim.flavor === 'AUTH_SYS' ? { uid: claim.uid, gid: claim.gid, groups: claim.gids } : undefined

export const callerOf = ({ peer, caller }: OncContext): Caller => ({
  address: peer.address,
  credentials: credentialsOf(caller),
  transferMax: peer.transport === 'udp' ? UDP_TRANSFER : TRANSFER_MAX,
})

export function nfs3Service(parts: NfsServerParts): Service {
  const calls = new NfsCalls(parts)
  /** A handler of this program from a function of the procedures. */
  const bind =
    <A, R>(serve: (calls: NfsCalls, caller: Caller, args: A) => R) =>
    (args: A, context: OncContext): R =>
      serve(calls, callerOf(context), args)
  return service(NFS3, {
    GETATTR: bind(queries.getattr),
    SETATTR: bind(changes.setattr),
    LOOKUP: bind(queries.lookup),
    ACCESS: bind(queries.access),
    READLINK: bind(queries.readlink),
    READ: bind(queries.readFile),
    WRITE: bind(write),
    CREATE: bind(changes.create),
    MKDIR: bind(changes.mkdir),
    SYMLINK: bind(changes.symlink),
    MKNOD: bind(changes.mknod),
    REMOVE: bind(changes.remove),
    RMDIR: bind(changes.rmdir),
    RENAME: bind(changes.rename),
    LINK: bind(changes.link),
    READDIR: bind(readdir),
    READDIRPLUS: bind(readdirplus),
    FSSTAT: bind(queries.fsstat),
    FSINFO: bind(queries.fsinfo),
    PATHCONF: bind(queries.pathconf),
    COMMIT: bind(commit),
  })
}

/**
 * MOUNT version 3. Who mounted what is not kept: a list that only grows, and that clients which die never leave, would say
 * little (RFC 1813 appendix I calls it advisory).
 */
export function mount3Service(parts: NfsServerParts): Service {
  const calls = new NfsCalls(parts)
  const trees: readonly ExportedTree[] = [...parts.exports.values()]
  return service(MOUNT3, {
    MNT(path, { peer }) {
      const tree = exportOf(trees, path)
      if (tree === undefined) return { status: 'MNT3ERR_NOENT' }
      const { share, root } = tree
      if (share.accessOf(peer.address) === undefined) return { status: 'MNT3ERR_ACCES' }
      try {
        const directory = parts.volume.resolve(root, path.slice(share.path.length))
        return { status: 'MNT3_OK', handle: calls.handle(share, directory), flavors: [AUTH_SYS] }
      } catch (error) {
        return { status: mountStatusOf(error) }
      }
    },
    DUMP: () => [],
    UMNT: () => undefined,
    UMNTALL: () => undefined,
    EXPORT: () =>
      trees.map(({ share }) => ({ directory: share.path, groups: share.clients.map((name) => ({ name })) })),
  })
}

/** The export that a path lies in: the innermost of several. */
function exportOf(trees: readonly ExportedTree[], path: string): ExportedTree | undefined {
  const within = ({ share }: ExportedTree): boolean =>
    share.path === '/' || path === share.path || path.startsWith(`${share.path}/`)
  return trees.filter(within).sort((a, b) => b.share.path.length - a.share.path.length)[0]
}

function mountStatusOf(error: unknown): MountError {
  const { code } = FsError.from(error)
  const status = `MNT3ERR_${code.slice(1)}`
  return Object.hasOwn(MOUNTSTAT3, status) ? (status as MountError) : 'MNT3ERR_SERVERFAULT'
}
