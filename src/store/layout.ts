// Where things lie in a volume's directory, and the keys of its table `meta`.
export const DATABASE = 'volume.db'
export const JOURNAL = 'journal'
export const CONTENT = 'content'

export const ID = 'id'
export const NAME_SEED = 'nameSeed'
export const QUOTA_BYTES = 'quotaBytes'
export const QUOTA_INODES = 'quotaInodes'
/** 1 after a close in good order: no content file is without its inode. */
export const CLEAN = 'clean'
/** The host's boot (Disk.bootId) in which the volume was opened last. */
export const BOOT = 'boot'
/** Clones may name content with lower numbers than this, and no other. */
export const SHARED_BELOW = 'sharedBelow'
/** Of a clone, which nobody may change: the id of the volume that it is of, and when it was made, in ms since the epoch. */
export const ORIGIN = 'origin'
export const CLONED_AT = 'clonedAt'
/** Of a volume made from a dump, and not opened since: the id of the clone that was dumped. */
export const RESTORED = 'restored'

export const ROOT_INODE = 1
