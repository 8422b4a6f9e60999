// Names of volumes, and of their clones.
const READONLY = '.readonly'
const BACKUP = '.backup'
/** So that the names of its clones are names, too (VolumeName). */
const NAME_BYTES = 54

/** Whether an RW volume may be called so. A number would be taken for one. */
export const isVolumeName = (name: string): boolean =>
  /^[\w.-]+$/.test(name) && !/^\d+$/.test(name) && name.length <= NAME_BYTES && name === baseName(name)

/** The name of the RW volume. */
export function baseName(name: string): string {
  for (const suffix of [READONLY, BACKUP]) if (name.endsWith(suffix)) return name.slice(0, -suffix.length)
  return name
}

export const readOnlyName = (name: string): string => name + READONLY
export const backupName = (name: string): string => name + BACKUP
