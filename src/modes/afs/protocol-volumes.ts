// The programs of mode `afs` that are about volumes, as tables, on the same port as AFS: where each one is (VL, of the
// cell's first server), and what is done with them (VOLSER, of each file server). Names and meaning are OpenAFS's
// (vldbint.xg, volint.xg), where it has them.
//
// Whoever may connect may call all of this: loopback, or who has the token. What an address in an entry says is what file
// servers have said of themselves to the volume location server; no other address is to be dialled.
import * as v from 'valibot'
import { list, nothing, type Procedure, procedure, program, text, unsigned } from '../../rpc/ws/index.ts'
import { ENTRIES_PAGE_MAX, HOLDERS_MAX, SERVERS_MAX, TRANSACTIONS_MAX, VOLUMES_MAX } from './limits.ts'
import { errors, Missed, VolumeName } from './records.ts'

const once = { idempotent: false } as const
const Id = unsigned(2 ** 32 - 1)
/** `host:port`, with brackets around an IPv6 address: how a file server is reached. */
export const ServerAddress = text(300)
/** Of a file server, random, for ever: its address may change. */
const ServerId = text(64)

const Site = v.object({ id: Id, server: ServerAddress })

/** What the cell knows of a volume: its clones are found by its own name with `.readonly` and `.backup`. */
export const VolumeEntry = v.object({
  name: VolumeName,
  /** The volume that may be changed; null: there is none any more, replicas may be left. */
  rw: v.nullable(Site),
  /** Replicas, as released; the same id everywhere. */
  ro: v.nullable(v.object({ id: Id, servers: list(ServerAddress, SERVERS_MAX) })),
  /** The snapshot, beside the RW volume. */
  backup: v.nullable(Site),
  /** Where replicas are to be: `ro` has those of them that were released. */
  sites: list(ServerAddress, SERVERS_MAX),
  /** Grows with each change of the entry. */
  revision: unsigned(),
})
export type VolumeEntry = v.InferOutput<typeof VolumeEntry>

export const VolumeType = v.picklist(['RW', 'RO', 'BK'])
const Which = v.union([Id, VolumeName])

const vlErrors = {
  /** Nobody knows a volume of that name or number. */
  VL_NOENT: v.object({ volume: Which }),
  /** The entry has been changed since it was read (its revision is another one), or there is one of that name already. */
  VL_CONFLICT: v.object({ name: VolumeName }),
  /** No file server of this cell has that address. */
  VL_NOSERVER: v.object({ server: ServerAddress }),
}

export const VL = program(
  'VL',
  300_003,
  1,
  {
    /**
     * The cell that a server belongs to, and who knows where its volumes are: the only procedure of VL that every file
     * server has.
     */
    GetCell: procedure(0, nothing, v.object({ cell: text(255), servers: list(ServerAddress, SERVERS_MAX) })),
    /** `.readonly` and `.backup` at the end of the name are no part of it. VL_NOENT. */
    GetEntryByName: procedure(1, v.object({ name: VolumeName }), VolumeEntry),
    /** By any of its ids. VL_NOENT. */
    GetEntryById: procedure(2, v.object({ id: Id }), VolumeEntry),
    /** In the order of their names: `after` is '', then the `next` of the page before, until that is null. */
    ListEntries: procedure(
      3,
      v.object({ after: VolumeName, limit: unsigned(ENTRIES_PAGE_MAX) }),
      v.object({ entries: list(VolumeEntry, ENTRIES_PAGE_MAX), next: v.nullable(VolumeName) }),
    ),
    /** The file servers of the cell. `connected`: it is now. */
    ListServers: procedure(
      4,
      nothing,
      v.object({
        servers: list(v.object({ id: ServerId, address: ServerAddress, connected: v.boolean() }), SERVERS_MAX),
      }),
    ),
    /**
     * A file server says who it is and how it is reached, whenever it begins or has connected again. Of volumes that it
     * has and that nobody knows, entries are made. EEXIST: another server has that address. ENOSPC: too many servers.
     */
    RegisterServer: procedure(
      10,
      v.object({
        id: ServerId,
        address: ServerAddress,
        volumes: list(v.object({ id: Id, name: VolumeName }), VOLUMES_MAX),
      }),
      v.object({ cell: text(255) }),
    ),
    /** The number of a new volume; those of its clones are the next two. Never given twice. */
    NewIds: procedure(11, nothing, v.object({ rw: Id, ro: Id, backup: Id }), once),
    /**
     * Makes an entry (revision 0), or changes the one of that revision; `revision` of the answer is the new one. An entry
     * that names no volume at all is removed. VL_CONFLICT, VL_NOSERVER; EINVAL: no name, or ids that do not belong together.
     * Made again after it was done, it is a VL_CONFLICT: read the entry to see what came of it.
     */
    SetEntry: procedure(12, VolumeEntry, v.object({ revision: unsigned() })),
  },
  { errors: vlErrors },
)

/** What a file server says of a volume that it has. */
export const VolumeInfo = v.object({
  id: Id,
  name: VolumeName,
  type: VolumeType,
  /** 'busy': it is being moved; 'doubtful': whether it is here is being asked. */
  state: v.picklist(['online', 'busy', 'doubtful']),
  usedBytes: unsigned(),
  /** Files, directories and links. */
  usedInodes: unsigned(),
  quotaBytes: v.nullable(unsigned()),
  quotaInodes: v.nullable(unsigned()),
  /** When the volume, or this clone of it, was made, in milliseconds since the epoch. */
  createdMs: unsigned(),
  /** Callback promises that stand. */
  promises: unsigned(),
})
export type VolumeInfo = v.InferOutput<typeof VolumeInfo>

/** Long work that is being done. */
export const Transaction = v.object({
  id: text(64),
  operation: v.picklist(['create', 'delete', 'move', 'release', 'backup', 'receive', 'sites', 'quota']),
  volume: VolumeName,
  /** What it is at: 'clone', 'dump', 'commit', … */
  step: text(64),
  /** Where to, if it leaves this server. */
  server: v.nullable(ServerAddress),
  /** Of dumps, so far. */
  bytes: unsigned(),
  sinceMs: unsigned(),
})
export type Transaction = v.InferOutput<typeof Transaction>

const name = VolumeName
const Quota = { quotaBytes: v.nullable(unsigned()), quotaInodes: v.nullable(unsigned()) }
/** Names a volume that is on its way to this server. */
const arrival = text(64)
/** The snapshot that is dumped, or that changes are counted from. */
const Snapshot = v.nullable(text(64))

const volserErrors = {
  ...errors,
  ...vlErrors,
  /** It did not succeed, and everything is as it was. */
  VOLFAILED: v.object({ step: text(64), server: v.nullable(ServerAddress), reason: text(1024) }),
}

/**
 * Administration of one file server. Names are those of RW volumes, with `.readonly` or `.backup` where a clone is meant.
 * VNOVOL: it is not here; VMOVED; VBUSY: something else is being done with it. Work that is cancelled, or that fails, leaves
 * everything as it was.
 */
export const VOLSER = program(
  'VOLSER',
  300_004,
  1,
  {
    /** EEXIST: the cell has one of that name. EINVAL: that is no name. */
    Create: procedure(0, v.object({ name, ...Quota }), VolumeInfo, once),
    /** An RW volume goes with its snapshot and all its replicas; `.backup` alone. EPERM: root.cell. */
    Delete: procedure(1, v.object({ name }), nothing, once),
    /** In the order of their numbers; `next` is null after the last. */
    List: procedure(
      2,
      v.object({ after: Id, limit: unsigned(ENTRIES_PAGE_MAX) }),
      v.object({ volumes: list(VolumeInfo, ENTRIES_PAGE_MAX), next: v.nullable(Id) }),
    ),
    /** Null: no limit but the host's. What is there already stays. EROFS: of a clone. */
    SetQuota: procedure(3, v.object({ name, ...Quota }), VolumeInfo),
    /**
     * Makes the replica of each site anew, each at once. Without a site this server becomes one. `failed`: where it did not
     * succeed; there the older replica goes on.
     */
    Release: procedure(
      4,
      v.object({ name }),
      v.object({
        released: list(ServerAddress, SERVERS_MAX),
        failed: list(v.object({ server: ServerAddress, reason: text(1024) }), SERVERS_MAX),
      }),
      once,
    ),
    /** A replica will be there with the next Release. EEXIST, VL_NOSERVER. */
    AddSite: procedure(5, v.object({ name, server: ServerAddress }), nothing, once),
    /** A replica that is there goes. ENOENT: there is none. */
    RemoveSite: procedure(6, v.object({ name, server: ServerAddress }), nothing, once),
    /** Makes `name.backup`, or makes it anew. */
    Backup: procedure(7, v.object({ name }), VolumeInfo, once),
    /** While clients use it. Its snapshot goes. EPERM: root.cell. EINVAL: it is there. VL_NOSERVER, VOLFAILED. */
    Move: procedure(8, v.object({ name, to: ServerAddress }), nothing, once),
    /** What is being done now. */
    Transactions: procedure(9, nothing, v.object({ transactions: list(Transaction, TRANSACTIONS_MAX) })),
    /** Clients that may have missed breaks, by volume. */
    Undelivered: procedure(
      10,
      nothing,
      v.object({ missed: list(v.object({ volume: VolumeName, ...Missed.entries }), HOLDERS_MAX) }),
    ),

    // Between file servers. An arrival lasts as long as the connection over which it was begun.

    /** A volume will come: first the whole, then what has changed, then Commit. EEXIST: it is here, or on its way. */
    BeginArrival: procedure(20, v.object({ id: Id, name }), v.object({ arrival }), once),
    /** A dump, of the whole the first time, later of what changed. EINVAL: that is none. */
    Receive: procedure(21, v.object({ arrival }), nothing, { bytesIn: true, idempotent: false }),
    /**
     * The volume is served here from now on, if its entry still has that revision: the volume location server decides.
     * VL_CONFLICT: it has another one, and the volume is not taken.
     */
    CommitArrival: procedure(22, v.object({ arrival, revision: unsigned() }), nothing, once),
    AbortArrival: procedure(23, v.object({ arrival }), nothing),
    /** Which snapshot the replica here was made of; null: none, or one that cannot be built upon. */
    GetReplica: procedure(24, v.object({ id: Id }), v.object({ snapshot: Snapshot })),
    /** The replica here is made, or made anew, from a dump: of the whole (`since`: null), or of what changed. */
    ReceiveReplica: procedure(25, v.object({ id: Id, name, since: Snapshot }), nothing, {
      bytesIn: true,
      idempotent: false,
    }),
    RemoveReplica: procedure(26, v.object({ id: Id }), nothing),
  },
  { errors: volserErrors },
)

export type Vl = (typeof VL)['procedures']
export type VlArguments<P extends keyof Vl> = Vl[P] extends Procedure<infer A, infer _> ? A : never
export type Volser = (typeof VOLSER)['procedures']
export type VolserArguments<P extends keyof Volser> = Volser[P] extends Procedure<infer A, infer _> ? A : never
export type VolserResult<P extends keyof Volser> = Volser[P] extends Procedure<infer _, infer R> ? R : never
