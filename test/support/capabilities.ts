// What a file system under test can do. A test names what it needs; where that is missing it is skipped with the reason.

export const capabilities = {
  /** Its daemon can be killed and started again. */
  crash: true,
  /** Two mounts show one tree, POSIX-coherent: what one does the other sees at once. */
  coherence: true,
  /** fcntl, OFD and flock locks. */
  locks: true,
  /** Locks exclude programs on the other mount, and waits across mounts find deadlocks. */
  sharedLocks: true,
  /** flock locks are apart from fcntl and OFD locks. */
  flockApart: true,
  /** Extended attributes in `user.`, and `trusted.` for root. */
  xattrs: true,
  /** Shared writable mappings. */
  sharedMmap: true,
  /** fallocate(2): allocate, keep size, punch hole, zero range. */
  fallocate: true,
  /** SEEK_DATA and SEEK_HOLE find holes. */
  holes: true,
  /** What is not written of a file takes neither time nor space. */
  sparse: true,
  /** renameat2(2) with NOREPLACE and EXCHANGE. */
  renameFlags: true,
  /** O_TMPFILE. */
  temporaryFiles: true,
  /** Device nodes, fifos, sockets. */
  specialFiles: true,
  /** Times are kept to the nanosecond, before 1970 too, and one can be set alone. */
  exactTimes: true,
  /** It knows who calls: what users make belongs to them. */
  callers: true,
  /** What is unlinked lives on without a name while it is used, and no name of it appears, even after a crash. */
  unlinkedNodes: true,
  /** A file that is unlinked and open has no links. */
  unlinkedCount: true,
  /** Names that are not UTF-8 get EILSEQ. */
  utf8Only: true,
  /** syncfs(2) and fsync(2) of directories reach the file system. */
  sync: true,
  /** A caller that waits for a lock can be interrupted. */
  interrupt: true,
  /** The test runs as root and can act as other users. */
  otherUsers: true,
  /** Opening with O_DIRECT. */
  directIo: true,
} as const

export type Capability = keyof typeof capabilities

/** For each thing that is missing, why. */
export type Missing = { readonly [name in Capability]?: string }

/** Why a test that needs these cannot run; undefined if it can. */
export function whyNot(missing: Missing, needs: readonly Capability[]): string | undefined {
  const reasons = needs.flatMap((need) => missing[need] ?? [])
  return reasons.length === 0 ? undefined : reasons.join('; ')
}

export const notRoot: Missing =
  process.getuid?.() === 0
    ? {}
    : { otherUsers: 'only root can act as other users', specialFiles: 'only root can make device nodes' }
