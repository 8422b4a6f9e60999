// How much of anything one call of mode `afs` takes or gives.

/** Fids of one call. */
export const BULK_MAX = 512
/** Fids of one CallBack, and of one GiveUpCallBacks. */
export const BREAK_MAX = 4096
/** Entries of one page of a directory, and about how many bytes they may take beside the first. */
export const ENTRIES_MAX = 4096
export const ENTRIES_BYTES = 256 * 1024
/** Of entries with statuses: those are some 300 bytes each. */
export const ENTRIES_WITH_STATUS_MAX = 1024
export const SYMLINK_MAX_BYTES = 4095
/** The largest file, in bytes. */
export const LENGTH_MAX = 2 ** 44
/** Seconds before or after the epoch. */
export const TIME_MAX = 2 ** 40
/** Holders that a view lists. */
export const HOLDERS_MAX = 512
/** File servers of a cell, and sites of a volume. */
export const SERVERS_MAX = 256
/** Volumes of a file server. */
export const VOLUMES_MAX = 4096
/** Entries of a page of volumes. */
export const ENTRIES_PAGE_MAX = 512
/** Work that a server does at a time. */
export const TRANSACTIONS_MAX = 64
/** Where file servers listen, if nobody says otherwise: afs3-fileserver. */
export const AFS_PORT = 7000
