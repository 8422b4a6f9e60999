// The procedures that change nothing, data aside.
import { type Credentials, MAY_READ } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDot } from '../../store/names.ts'
import type { Volume } from '../../store/volume.ts'
import type { AfsCalls, Caller } from './afs-calls.ts'
import { ENTRIES_BYTES, ENTRIES_WITH_STATUS_MAX, HOLDERS_MAX } from './limits.ts'
import type { Arguments, Result } from './protocol.ts'
import type { Entry } from './records.ts'
import { fileType } from './status.ts'
import type { ServedVolume } from './volume-registry.ts'

export function fetchStatus(calls: AfsCalls, caller: Caller, { fid }: Arguments<'FetchStatus'>): Result<'FetchStatus'> {
  const { served, ino } = calls.target(fid)
  return calls.known(served, ino, caller)
}

export function bulkStatus(calls: AfsCalls, caller: Caller, { fids }: Arguments<'BulkStatus'>): Result<'BulkStatus'> {
  const known = fids.map((fid) => {
    try {
      return fetchStatus(calls, caller, { fid, who: NOBODY })
    } catch {
      return null
    }
  })
  return { known }
}

/** Statuses are told to whoever has a fid. */
const NOBODY = { uid: 0, gid: 0, groups: [] }

export function lookup(calls: AfsCalls, caller: Caller, { who, parent, name }: Arguments<'Lookup'>): Result<'Lookup'> {
  const { served, ino } = calls.target(parent)
  const found = served.volume.lookup(ino, name, calls.credentials(who))
  return {
    found: found === undefined ? null : calls.known(served, found, caller),
    directory: calls.known(served, ino, caller),
  }
}

export function readlink(calls: AfsCalls, _caller: Caller, { fid }: Arguments<'Readlink'>): Result<'Readlink'> {
  const { served, ino } = calls.target(fid)
  return { target: served.volume.readlink(ino) }
}

export function fetchDirectory(
  calls: AfsCalls,
  caller: Caller,
  { who, fid, after, limit, statuses }: Arguments<'FetchDirectory'>,
): Result<'FetchDirectory'> {
  const { served, ino } = calls.target(fid)
  requireListable(served, ino, calls.credentials(who))
  const directory = calls.known(served, ino, caller)
  const most = statuses ? Math.min(limit, ENTRIES_WITH_STATUS_MAX) : limit
  const entries: Entry[] = []
  const known: Result<'FetchDirectory'>['statuses'] = []
  let bytes = 0
  let next: number | null = null
  let last = after
  for (const entry of served.volume.list(ino, after)) {
    if (isDot(entry.name)) {
      last = entry.cookie
      continue
    }
    bytes += entry.name.length * 3
    if (entries.length >= Math.max(1, most) || (bytes > ENTRIES_BYTES && entries.length > 0)) {
      next = last
      break
    }
    last = entry.cookie
    const { volume } = served
    entries.push([entry.name, entry.ino, volume.generation(entry.ino), fileType(volume.modeOf(entry.ino))])
    if (!statuses) continue
    const { status, callback } = calls.known(served, entry.ino, caller)
    known.push({ status, callback })
    bytes += status.target?.length ?? 0
  }
  return { directory, entries, statuses: known, next }
}

function requireListable({ volume }: ServedVolume, ino: number, who: Credentials): void {
  if (fileType(volume.modeOf(ino)) !== 'directory') throw new FsError('ENOTDIR')
  volume.access(ino, MAY_READ, who)
}

export function getVolumeStatus(
  calls: AfsCalls,
  _caller: Caller,
  { volume: which }: Arguments<'GetVolumeStatus'>,
): Result<'GetVolumeStatus'> {
  const { id, name, type, volume } = typeof which === 'number' ? calls.registry.get(which) : calls.registry.named(which)
  const { quota, used } = volume
  const { blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles } = volume.statfs()
  return {
    ...{ volume: id, name, type, root: { volume: id, vnode: volume.root, unique: volume.generation(volume.root) } },
    ...{ usedBytes: used.bytes, usedInodes: used.inodes },
    ...{ quotaBytes: quota.bytes ?? null, quotaInodes: quota.inodes ?? null },
    ...{ blockBytes: blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles },
  }
}

export function getHolders(calls: AfsCalls, _caller: Caller, { fid }: Arguments<'GetHolders'>): Result<'GetHolders'> {
  const { served, ino } = calls.target(fid)
  const { grants } = served.volume
  const now = grants.now()
  const holders = grants.table.grantsOf(ino).slice(0, HOLDERS_MAX)
  return {
    holders: holders.map(({ client, expiresAt, recall }) => ({
      ...{ client, breaking: recall !== undefined },
      ...(Number.isFinite(expiresAt) ? { expiresInMs: Math.max(0, Math.floor(expiresAt - now)) } : {}),
    })),
    missed: missedOf(served.volume),
  }
}

/** Clients that may not have heard of breaks of a volume. */
export function missedOf({ grants }: Volume): Result<'GetHolders'>['missed'] {
  const now = grants.now()
  const missed = grants.table.undeliveredRecalls().slice(0, HOLDERS_MAX)
  return missed.map(({ client, count, since, unreachable }) => ({
    ...{ client, breaks: count, sinceMs: Math.max(0, Math.floor(now - since)), unreachable },
  }))
}
