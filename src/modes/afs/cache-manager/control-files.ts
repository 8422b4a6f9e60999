// Control files of a mount that let people decide what is kept: `.proteus/flush` (fs flush of OpenAFS), and
// `.proteus/unstored`. Files are named by their key, `cell/volume.vnode.unique`, as `user.proteus.*` tells it.
import { FsError } from '../../../posix/errors.ts'
import type { ControlFile } from '../../../vfs/control.ts'
import { flush, flushAll } from './flushing.ts'
import type { CacheManager } from './manager.ts'
import { pathsOf } from './paths.ts'
import { storeAgain } from './stores.ts'
import type { UnstoredFile } from './unstored.ts'

const KEY = /^[\w.-]{1,255}\/\d{1,10}\.\d{1,16}\.\d{1,16}$/
const LISTED = 1000

export interface ControlFilesOptions {
  readonly cm: CacheManager
  readonly cacheDirectory: string
}

export function controlFilesOf({ cm, cacheDirectory }: ControlFilesOptions): readonly ControlFile[] {
  return [
    {
      name: 'flush',
      write(line) {
        if (line === 'all') flushAll(cm)
        else flush(cm, keyOf(line))
      },
    },
    {
      name: 'unstored',
      read: () =>
        unstoredFiles(cm, cacheDirectory)
          .map((file) => `${JSON.stringify(file)}\n`)
          .join(''),
      async write(line) {
        const [, what, key = ''] = /^(retry|discard) (.*)$/.exec(line) ?? []
        if (what === undefined) throw new FsError('EINVAL', 'retry KEY or discard KEY')
        const named = [...cm.unstored].filter(({ file }) => file.key === keyOf(key))
        if (named.length === 0) throw new FsError('ENOENT', `nothing of ${key} is unstored`)
        for (const file of named) {
          if (what === 'retry') await storeAgain(cm, file)
          else discard(cm, file)
        }
      },
    },
  ]
}

/** Changed files that the server does not have, one object for each. */
export function unstoredFiles(cm: CacheManager, cacheDirectory: string) {
  const pathOf = pathsOf(cm)
  return [...cm.unstored].slice(0, LISTED).map(({ file: { key, version, number }, why, retry }) => ({
    ...{ key, file: pathOf(key), version, copy: `${cacheDirectory}/files/${number}`, why },
    next: retry ? 'tried again when the server answers' : 'kept until it is given up',
  }))
}

function keyOf(text: string): string {
  if (!KEY.test(text)) throw new FsError('EINVAL', 'a file is named as cell/volume.vnode.unique')
  return text
}

function discard(cm: CacheManager, { file }: UnstoredFile): void {
  if (file.opens > 0) throw new FsError('EBUSY', `${file.key} is open, or being stored`)
  cm.cache.discard(file)
  cm.unstored.delete(file)
}
