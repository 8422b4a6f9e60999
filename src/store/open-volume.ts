// Opens the volume in a directory for the one process that may change it, or makes it, and finishes what a crash
// interrupted. A clone, which nobody changes, is opened by open-clone.ts.
import { randomBytes, randomInt } from 'node:crypto'
import type { Clock } from '../host/clock.ts'
import { type Disk, syncDirectory } from '../host/disk.ts'
import { DatabaseBusy, noteOwner, ownerOf } from '../host/exclusive-database.ts'
import { type Timespec, timespecFromMs } from '../posix/attributes.ts'
import { S_IFDIR } from '../posix/mode.ts'
import { ContentFiles } from './content-files.ts'
import { ContentRemoval } from './content-removal.ts'
import { Entries } from './entries.ts'
import { insertParameters, newInode } from './inode.ts'
import { INODE_LIMIT, Inodes } from './inodes.ts'
import { BOOT, CLEAN, CONTENT, DATABASE, ID, JOURNAL, NAME_SEED, RESTORED, ROOT_INODE, SHARED_BELOW } from './layout.ts'
import { METADATA_LIMITS, Metadata, type MetadataLimits, type MetadataOptions } from './metadata.ts'
import { type NameHash, nameHash } from './names.ts'
import { Notices } from './notices.ts'
import type { Parts } from './parts.ts'
import { finishCopies } from './replace.ts'
import { INSERT_INODE, SET_META } from './schema.ts'
import { readUsage } from './usage.ts'
import { prepareXattrQueries } from './xattrs.ts'

export interface VolumeLimits extends MetadataLimits {
  /** Inodes kept in memory. */
  readonly cachedInodes: number
  /** Content files kept open while nobody uses them. */
  readonly idleDescriptors: number
  /** How long the content of a deleted file stays at least, and how much longer while the volume is busy, in ms. */
  readonly removalDelayMs: number
  readonly removalPatienceMs: number
  /** Promises to clients that are kept at once. */
  readonly grants: number
}

export const VOLUME_LIMITS: VolumeLimits = {
  ...METADATA_LIMITS,
  cachedInodes: 100_000,
  idleDescriptors: 8192,
  removalDelayMs: 250,
  removalPatienceMs: 5000,
  grants: 100_000,
}

export interface OpenVolumeOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly limits: VolumeLimits
  readonly onBackgroundError: (error: Error) => void
  readonly nameHash?: NameHash
}

/** Content files made ahead in one go. */
const SUPPLY = 64

/** Throws an Error of one line if another process has it open, if its format is unknown, or if it is damaged. */
export async function openParts(
  directory: string,
  options: OpenVolumeOptions,
): Promise<{ readonly parts: Parts; readonly removal: ContentRemoval }> {
  const { disk, clock, limits, onBackgroundError } = options
  disk.makeDirectory(directory)
  const metadata = await openMetadata(directory, { disk, clock, limits, onBackgroundError })
  try {
    const contentDirectory = `${directory}/${CONTENT}`
    const files = new ContentFiles({
      disk,
      directory: contentDirectory,
      idleDescriptors: limits.idleDescriptors,
      beforeClose: (inode) => {
        inodes.refresh(inode)
        // An inode that cannot be saved now is found changed when it is next read.
        try {
          inodes.save(inode)
        } catch (error) {
          onBackgroundError(error as Error)
        }
      },
      onNoneSpare: () => removal.stir(),
      onCopied: () => removal.stir(),
      onBackgroundError,
    })
    const removal = new ContentRemoval({
      clock,
      delayMs: limits.removalDelayMs,
      patienceMs: limits.removalPatienceMs,
      operations: () => metadata.sequence,
      sync: () => metadata.sync(),
      remove: (content) => files.remove(content),
      removed: async () => {
        await files.spare.makeDurable()
        await files.settleCopies()
      },
      prepare: (busy) => {
        if (!busy) files.spare.supply(SUPPLY, () => inodes.allocate())
        return files.spare.lacks
      },
      removeLater: (content) => files.removeLater(content),
      onBackgroundError,
    })
    if (metadata.meta(ID) === undefined) {
      disk.makeDirectory(contentDirectory)
      await files.format()
      format(metadata, timespecFromMs(clock.now()))
    }
    files.sharedBelow = Number(metadata.meta(SHARED_BELOW) ?? 0)
    const usage = readUsage(metadata)
    const notices = new Notices()
    const inodes = new Inodes({
      disk,
      metadata,
      files,
      usage,
      notices,
      cacheLimit: limits.cachedInodes,
      discardContent: (content, bytes) => removal.add(content, bytes),
    })
    if (metadata.meta(CLEAN) !== 1) {
      finishCopies(metadata, disk, contentDirectory)
      const known = new Set(metadata.query<number>('SELECT content FROM inode').pluck().iterate())
      files.recoverCopies(metadata.meta(BOOT) !== disk.bootId())
      files.collect((content) => known.has(content))
    }
    metadata.run(SET_META, [CLEAN, 0])
    metadata.run(SET_META, [BOOT, disk.bootId()])
    if (metadata.meta(RESTORED) !== undefined) metadata.run(SET_META, [RESTORED, null])
    metadata.commit()
    await metadata.sync()
    await syncDirectory(disk, directory)
    const entries = new Entries(metadata, options.nameHash ?? nameHash, Number(metadata.meta(NAME_SEED)))
    const xattrs = prepareXattrQueries(metadata)
    const parts: Parts = { disk, clock, metadata, inodes, entries, xattrs, files, usage, notices }
    noteOwner(directory)
    return { parts, removal }
  } catch (error) {
    await metadata.close()
    throw error
  }
}

async function openMetadata(directory: string, options: MetadataOptions): Promise<Metadata> {
  try {
    return await Metadata.open(`${directory}/${DATABASE}`, `${directory}/${JOURNAL}`, options)
  } catch (error) {
    if (!(error instanceof DatabaseBusy)) throw error
    throw new Error(`the volume ${directory} is in use by ${ownerOf(directory)}`, { cause: error })
  }
}

/** What a new volume holds: itself, and a root. */
function format(metadata: Metadata, now: Timespec): void {
  const root = newInode({
    ino: ROOT_INODE,
    generation: 1,
    mode: S_IFDIR | 0o755,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    nlink: 2,
    rdev: 0,
    parent: ROOT_INODE,
    target: null,
    now,
  })
  metadata.run(SET_META, [ID, randomBytes(16).toString('hex')])
  metadata.run(SET_META, [NAME_SEED, randomInt(2 ** 31)])
  metadata.run(SET_META, [INODE_LIMIT, ROOT_INODE + 1])
  metadata.run(INSERT_INODE, insertParameters(root), root)
  metadata.commit()
  metadata.flush()
}
