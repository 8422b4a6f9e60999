// What is stored after a close: close(2) has stored what could be seen then. A shared mapping outlives the descriptor that
// it was made with, and what is written through it to a page that is dirty already does not move the mtime.
import { setTimeout as sleep } from 'node:timers/promises'
import { hostDisk, UTIME_NOW, UTIME_OMIT } from '../../../host/disk.ts'
import type { Handle } from '../../../vfs/filesystem.ts'
import { checksumOf } from '../../../vfs/whole-files/checking.ts'
import type { Content, OpenFile } from './contents.ts'
import type { CacheManager } from './manager.ts'
import { storeAtLast } from './stores.ts'

/** How often a file is looked at that is mapped and not open, in milliseconds: at first, and at most. */
const LOOK_MS = { least: 1, most: 1000 } as const

/** What is left to do when a program has closed a file that it could write; undefined: nothing. `ending`: the mount does. */
export function afterClose(
  cm: CacheManager,
  file: OpenFile,
  handle: Handle,
  ending: AbortSignal,
): Promise<void> | undefined {
  const { node, content, who } = file
  const last = content.writers === 1
  if (last && isWritable(content)) return untilUnmapped(cm, file, ending)
  // Whoever removed it does not want to keep it.
  if (node.vnode.removedHere) return undefined
  if (content.isChanged()) return storeAtLast(cm, node, who)
  return last && content.mayHideChanges(handle) ? storeHidden(cm, file) : undefined
}

/** The kernel, for a moment after a close, or a mapping can write the file. */
function isWritable({ opened }: Content): boolean {
  try {
    return hostDisk.hasWriters(opened.fd)
  } catch {
    // The host's file system cannot tell.
    return false
  }
}

/** As long as it is mapped it counts as open. */
async function untilUnmapped(cm: CacheManager, file: OpenFile, ending: AbortSignal): Promise<void> {
  const { node, content } = file
  for (let pauseMs: number = LOOK_MS.least; !ending.aborted && isWritable(content); ) {
    await sleep(pauseMs, undefined, { signal: ending, ref: false }).catch(() => {})
    // Whoever has opened it since looks in turn.
    if (content.writers > 1) return
    pauseMs = Math.min(2 * pauseMs, LOOK_MS.most)
  }
  if (!node.vnode.removedHere) await storeHidden(cm, file)
}

async function storeHidden(cm: CacheManager, { node, content, who }: OpenFile): Promise<void> {
  if (!content.isChanged()) {
    const { file, opened } = content
    const { checksum, stamp } = file
    // Who truncates it meanwhile has it open, and changed it.
    const found =
      checksum === undefined
        ? checksum
        : await checksumOf({ disk: hostDisk }, opened.fd, stamp.size).catch(() => undefined)
    if (found === checksum) return
    // From now on it is seen to be changed.
    hostDisk.utimens(opened.fd, 0, UTIME_OMIT, 0, UTIME_NOW)
  }
  await storeAtLast(cm, node, who)
}
