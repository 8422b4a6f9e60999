// What people call a file: its path in its volume, as far as the names are known that lead to it.
import type { CacheManager } from './manager.ts'
import { keyOf, type Vnode } from './vnodes.ts'

/** Of different ages, names could lead in a circle. */
const DEPTH = 64

/** How the files of the cache are called now; those that no known name leads to by their key. */
export function pathsOf(cm: CacheManager): (key: string) => string {
  let parents: Map<string, Parent> | undefined
  return (key) => {
    parents ??= parentsOf(cm)
    const names: string[] = []
    let at = parents.get(key)
    for (let depth = 0; at !== undefined && depth < DEPTH; depth++) {
      names.unshift(at.name)
      const { volume, fid, key: above } = at.directory
      if (above === keyOf(volume, volume.root) && fid.volume === volume.id) return [volume.name, ...names].join('/')
      at = parents.get(above)
    }
    return key
  }
}

interface Parent {
  readonly directory: Vnode
  readonly name: string
}

function parentsOf(cm: CacheManager): Map<string, Parent> {
  const parents = new Map<string, Parent>()
  for (const directory of cm.vnodes) {
    for (const [name, entry] of directory.names?.entries ?? []) {
      parents.set(keyOf(directory.volume, entry), { directory, name })
    }
  }
  return parents
}
