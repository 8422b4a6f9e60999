// Directories, as this client keeps them: all names under one promise, so that a lookup, also of a name that is not there,
// asks nobody; and the statuses of many entries by one call.
import { FsError } from '../../../posix/errors.ts'
import type { Awaitable } from '../../../vfs/filesystem.ts'
import { BULK_MAX, ENTRIES_MAX } from '../limits.ts'
import { AFS, type Result } from '../protocol.ts'
import type { Known } from '../records.ts'
import type { Caller } from './file-server.ts'
import type { CacheManager } from './manager.ts'
import type { Asked } from './promises.ts'
import type { NameEntry, Names, Vnode } from './vnodes.ts'

const { FetchDirectory, BulkStatus, Lookup } = AFS.procedures
/** How often a directory is read that others change meanwhile. */
const TRIES = 8
/** Statuses that are asked for beside one that is wanted: more, the longer a directory is looked through. */
const BULKS = [1, 8, 64, BULK_MAX] as const

export function requireDirectory({ attributes, status }: Vnode): void {
  if (attributes !== undefined && status?.type !== 'directory') throw new FsError('ENOTDIR')
}

/** The names under a promise that stands; undefined: they have to be asked for. */
export function knownNames(cm: CacheManager, directory: Vnode): Names | undefined {
  const { names, status } = directory
  return names !== undefined && names.version === status?.dataVersion && cm.isValid(directory) ? names : undefined
}

/** All names, asked for if need be. EACCES: this caller may not list them. */
export function namesOf(cm: CacheManager, directory: Vnode, caller: Caller): Awaitable<Names> {
  return knownNames(cm, directory) ?? loadNames(cm, directory, caller)
}

async function loadNames(cm: CacheManager, directory: Vnode, caller: Caller): Promise<Names> {
  // What another one began to ask for before us is of use if it is promised.
  while (directory.loading !== undefined) {
    await directory.loading.catch(() => {})
    const names = knownNames(cm, directory)
    if (names !== undefined) return names
  }
  const loading = fetchNames(cm, directory, caller)
  directory.loading = loading
  try {
    return await loading
  } finally {
    directory.loading = undefined
  }
}

async function fetchNames(cm: CacheManager, directory: Vnode, caller: Caller): Promise<Names> {
  for (let tries = 1; tries <= TRIES; tries++) {
    const names = await fetchOnce(cm, directory, caller)
    if (names !== undefined) return names
  }
  throw new FsError('EAGAIN', 'a directory changes faster than it can be read')
}

async function fetchOnce(cm: CacheManager, directory: Vnode, caller: Caller): Promise<Names | undefined> {
  const { volume, fid } = directory
  const who = cm.whoIs(caller)
  const entries = new Map<string, NameEntry>()
  let version: number | undefined
  // Of what was listed before, most statuses are known.
  let statuses = directory.names === undefined
  for (let after: number | null = 0; after !== null; ) {
    const args = { who, fid, after, limit: ENTRIES_MAX, statuses }
    const page: Result<'FetchDirectory'> = await cm.ask(
      () => cm.cells.call(volume, FetchDirectory, args, caller),
      (page, asked) => learnPage(cm, directory, page, asked),
    )
    if (version !== undefined && version !== page.directory.status.dataVersion) return undefined
    version = page.directory.status.dataVersion
    for (const [name, vnode, unique, type] of page.entries) entries.set(name, { vnode, unique, type })
    after = page.next
    // Who looks at one of many files does not want to hear of them all.
    statuses = false
  }
  const names = { version: version ?? 0, entries }
  directory.names = names
  directory.misses = 0
  return names
}

function learnPage(cm: CacheManager, { volume }: Vnode, page: Result<'FetchDirectory'>, asked: Asked): void {
  cm.learn(volume, page.directory, asked)
  for (const [i, known] of page.statuses.entries()) {
    const entry = page.entries[i]
    if (known === null || entry === undefined) continue
    const [, vnode, unique] = entry
    cm.learn(volume, { fid: { volume: volume.id, vnode, unique }, ...known }, asked)
  }
}

/** One name, for whoever may walk through a directory and not list it. Nothing of it is kept but the statuses. */
export async function askForName(
  cm: CacheManager,
  directory: Vnode,
  name: string,
  caller: Caller,
): Promise<NameEntry | undefined> {
  const { volume, fid } = directory
  const args = { who: cm.whoIs(caller), parent: fid, name }
  const { found } = await cm.ask(
    () => cm.cells.call(volume, Lookup, args, caller),
    ({ found, directory: known }, asked) => {
      cm.learn(volume, known, asked)
      if (found !== null) cm.learn(volume, found, asked)
    },
  )
  return found === null ? undefined : { ...found.fid, type: found.status.type }
}

/**
 * Asks for the status of an entry, and along with it for those that follow it in its directory: who looks through one
 * asks for all of them.
 */
export async function fetchEntryStatus(
  cm: CacheManager,
  directory: Vnode,
  { vnode, unique }: NameEntry,
  caller: Caller,
): Promise<void> {
  const { volume } = directory
  const most = BULKS[Math.min(directory.misses++, BULKS.length - 1)] ?? 1
  const wanted = cm.vnode(volume, { vnode, unique })
  if (most === 1) return cm.fetchStatus(wanted, caller)
  await fetchStatuses(cm, following(cm, directory, wanted, most), caller)
  if (wanted.deleted) throw new FsError('ESTALE')
}

/** The statuses of many vnodes of one volume, at most BULK_MAX, by one call. What is gone is marked so. */
export async function fetchStatuses(cm: CacheManager, wanted: readonly Vnode[], caller: Caller): Promise<void> {
  const [first] = wanted
  if (first === undefined) return
  const { volume } = first
  const args = { who: cm.whoIs(caller), fids: wanted.map(({ fid }) => fid) }
  await cm.ask(
    () => cm.cells.call(volume, BulkStatus, args, caller),
    ({ known }, asked) => {
      for (const [i, vnode] of wanted.entries()) {
        const one = known[i]
        if (one) cm.learn(volume, one, asked)
        else cm.gone(vnode)
      }
    },
  )
}

/** `first`, and what comes after it in the directory and is not known. */
function following(cm: CacheManager, directory: Vnode, first: Vnode, most: number): Vnode[] {
  const found = [first]
  let passed = false
  for (const { vnode, unique, type } of directory.names?.entries.values() ?? []) {
    if (vnode === first.fid.vnode) passed = true
    else if (passed && type !== 'mountpoint') {
      const next = cm.vnode(directory.volume, { vnode, unique })
      if (!cm.isValid(next)) found.push(next)
      if (found.length === most) break
    }
  }
  return found
}

/** A directory after a change of ours: if nothing else happened to it, its names are those before, with our change. */
export function changeNames(
  cm: CacheManager,
  directory: Vnode,
  known: Known,
  asked: Asked,
  edit: (entries: Map<string, NameEntry>) => void,
): void {
  const { names } = directory
  cm.learn(directory.volume, known, asked, true)
  if (names === undefined || directory.names !== names) return
  const { dataVersion } = known.status
  if (dataVersion === names.version + 1) {
    edit(names.entries)
    names.version = dataVersion
  } else if (dataVersion !== names.version) directory.names = undefined
}
