// Fetching whole files: one fetch of a version at a time, which all who want it share.
import { FsError } from '../../../posix/errors.ts'
import type { IncomingBytes } from '../../../rpc/ws/index.ts'
import type { CallContext } from '../../../vfs/filesystem.ts'
import type { Fetch } from '../../../vfs/whole-files/fetch.ts'
import type { OpenFile as CachedOpen } from '../../../vfs/whole-files/parts.ts'
import { AFS } from '../protocol.ts'
import type { Who } from '../records.ts'
import type { CacheManager } from './manager.ts'
import type { Vnode } from './vnodes.ts'

const { FetchData } = AFS.procedures
/** How often a fetch begins again that ended because the file was changed meanwhile, or its connection. */
const TRIES = 3

export interface Fetched {
  readonly opened: CachedOpen
  /** While bytes come. */
  readonly fetch: Fetch | undefined
}

/** The present version of a file: open, and on its way. Fails with FsError. */
export async function fetchFile(cm: CacheManager, vnode: Vnode, context: CallContext): Promise<Fetched> {
  const who = cm.whoIs(context)
  try {
    return await begin(cm, vnode, context, who)
  } catch (error) {
    // The kernel has let it be opened, for writing it may be; the cache needs all of it.
    if (FsError.from(error).code !== 'EACCES' || who.uid === cm.self.uid) throw error
    return begin(cm, vnode, context, cm.self)
  }
}

async function begin(cm: CacheManager, vnode: Vnode, context: CallContext, who: Who): Promise<Fetched> {
  const { volume, fid, key } = vnode
  const { result, bytes } = await cm.ask(
    () => cm.cells.receive(volume, FetchData, { who, fid, offset: 0 }, context),
    (answer, asked) => void cm.learn(volume, answer.result, asked),
  )
  const { dataVersion: version, length } = result.status
  const underWay = cm.cache.fetching(key, version)
  if (underWay !== undefined) {
    bytes.cancel()
    return { opened: underWay.open(), fetch: underWay }
  }
  let fetch: Fetch
  try {
    fetch = cm.cache.fetch(key, { version, length: bytes.length ?? length })
  } catch (error) {
    bytes.cancel()
    throw error
  }
  const opened = fetch.open()
  const pumping = pump(cm, vnode, fetch, bytes)
  if (fetch.length > SHORT_BYTES) {
    pumping.catch(() => {})
    return { opened, fetch }
  }
  try {
    await pumping
    return { opened, fetch: undefined }
  } catch (error) {
    opened.release()
    throw error
  }
}

/** What comes in one piece is there before anybody could look. */
const SHORT_BYTES = 256 * 1024

async function pump(cm: CacheManager, vnode: Vnode, fetch: Fetch, first: IncomingBytes): Promise<void> {
  const transfer = cm.transfers.begin('fetch', vnode.key, fetch.length)
  let bytes = first
  try {
    for (let tries = 1; ; tries++) {
      try {
        for (let pieces = await bytes.takeAll(); pieces.length > 0; pieces = await bytes.takeAll()) {
          const written = fetch.write(...pieces)
          if (written !== undefined) await written
          transfer.done = fetch.received
        }
        break
      } catch (error) {
        // Where it is known that nothing has changed, what is lacking can be asked for.
        const again = tries < TRIES && fetch.received < fetch.length ? await resume(cm, vnode, fetch) : undefined
        if (again === undefined) throw error
        bytes = again
      }
    }
    fetch.commit()
    cm.transfers.end(transfer, true)
  } catch (error) {
    bytes.cancel()
    fetch.abort(FsError.from(error))
    cm.transfers.end(transfer, false)
    throw FsError.from(error)
  }
}

/** The rest of a version, if that is still the present one. */
async function resume(cm: CacheManager, vnode: Vnode, fetch: Fetch): Promise<IncomingBytes | undefined> {
  const { volume, fid } = vnode
  const caller = { who: cm.self }
  const args = { who: cm.self, fid, offset: fetch.received }
  try {
    const { result, bytes } = await cm.cells.receive(volume, FetchData, args, caller)
    if (result.status.dataVersion === fetch.file.version) return bytes
    bytes.cancel()
  } catch {
    // The first failure is the one to tell.
  }
  return undefined
}
