// Opens a clone, which any number of processes may do at a time.
import fs from 'node:fs'
import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import { ContentFiles } from './content-files.ts'
import { Entries } from './entries.ts'
import { Inodes } from './inodes.ts'
import { CONTENT, DATABASE, NAME_SEED } from './layout.ts'
import { type NameHash, nameHash } from './names.ts'
import { Notices } from './notices.ts'
import type { Parts } from './parts.ts'
import { ReadOnlyMetadata } from './read-only-metadata.ts'
import { readUsage } from './usage.ts'
import { prepareXattrQueries } from './xattrs.ts'

export interface OpenCloneOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly limits: { readonly cachedNames: number; readonly cachedInodes: number; readonly idleDescriptors: number }
  readonly onBackgroundError: (error: Error) => void
  readonly nameHash?: NameHash
}

/** How often a clone may be replaced between looking where its name leads and opening it. */
const TRIES = 8

/** The parts of the clone in `name`, and the directory that the name leads to now. */
export function openClone(
  name: string,
  options: OpenCloneOptions,
): { readonly directory: string; readonly parts: Parts } {
  for (let tries = 1; ; tries++) {
    const directory = fs.realpathSync(name)
    let metadata: ReadOnlyMetadata
    try {
      metadata = new ReadOnlyMetadata(`${directory}/${DATABASE}`, options.limits.cachedNames)
    } catch (error) {
      if (tries < TRIES && fs.realpathSync(name) !== directory) continue
      throw error
    }
    // Removed before it was locked.
    if (!fs.existsSync(`${directory}/${DATABASE}`)) {
      void metadata.close()
      if (tries < TRIES) continue
      throw new Error(`${name} is gone`)
    }
    return { directory, parts: partsOf(directory, metadata, options) }
  }
}

function partsOf(directory: string, metadata: ReadOnlyMetadata, options: OpenCloneOptions): Parts {
  const { disk, clock, limits, onBackgroundError } = options
  const files = new ContentFiles({
    disk,
    directory: `${directory}/${CONTENT}`,
    idleDescriptors: limits.idleDescriptors,
    beforeClose: () => {},
    onNoneSpare: () => {},
    onCopied: () => {},
    readOnly: true,
    onBackgroundError,
  })
  const usage = readUsage(metadata)
  const notices = new Notices()
  const inodes = new Inodes({
    disk,
    metadata,
    files,
    usage,
    notices,
    cacheLimit: limits.cachedInodes,
    rowsCount: true,
    discardContent: () => {},
  })
  const entries = new Entries(metadata, options.nameHash ?? nameHash, Number(metadata.meta(NAME_SEED)))
  return { disk, clock, metadata, inodes, entries, xattrs: prepareXattrQueries(metadata), files, usage, notices }
}
