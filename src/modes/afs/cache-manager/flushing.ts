// Giving up what is kept of files: the copy in the cache goes, and status and names are asked for again.
import { FsError } from '../../../posix/errors.ts'
import type { CacheManager } from './manager.ts'
import type { Vnode } from './vnodes.ts'

/** By key. EBUSY: it is open, or has changes that the server does not have; then nothing happens. */
export function flush(cm: CacheManager, key: string): void {
  const vnode = cm.vnodes.find(key)
  if (isBusy(cm, key, vnode)) throw new FsError('EBUSY', `${key} is open, or changed and not stored`)
  cm.cache.forget(key)
  if (vnode !== undefined) cm.disbelieve(vnode)
}

/** Of all that is kept. EBUSY: some files had to stay. */
export function flushAll(cm: CacheManager): void {
  const keys = new Set([...cm.cache.files()].map((file) => file.key))
  for (const { key } of cm.vnodes) keys.add(key)
  let busy = 0
  for (const key of keys) {
    try {
      flush(cm, key)
    } catch (error) {
      if (FsError.from(error).code !== 'EBUSY') throw error
      busy++
    }
  }
  if (busy > 0) throw new FsError('EBUSY', `${busy} files are open, or changed and not stored`)
}

function isBusy(cm: CacheManager, key: string, vnode: Vnode | undefined): boolean {
  if (vnode?.opening !== undefined || [...(vnode?.nodes ?? [])].some(({ content }) => content !== undefined))
    return true
  const file = cm.cache.find(key)
  return (file !== undefined && (file.state === 'dirty' || file.opens > 0)) || cm.unstored.has(key)
}
