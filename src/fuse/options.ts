// Mount options for mount(2) and for fusermount3, from the names that users give.
import type { MountOptions } from '../host/addon.ts'
import { MAX_TRANSFER } from './init.ts'
import type { MountFlags, MountRequest } from './mount.ts'

/** MS_* of <sys/mount.h>, by option. */
const FLAGS = { ro: 1, nosuid: 2, nodev: 4, noexec: 8, sync: 16, dirsync: 128, noatime: 1024 } as const

const flagNames = (flags: MountFlags): (keyof typeof FLAGS)[] =>
  (Object.keys(FLAGS) as (keyof typeof FLAGS)[]).filter((name) => flags[name])

export function kernelOptions({ options, source }: Pick<MountRequest, 'options' | 'source'>): {
  mount: MountOptions
  helper: string
} {
  const name = options.fsname ?? source
  const subtype = options.subtype ?? 'proteus'
  const data = [
    ...(options.defaultPermissions ? ['default_permissions'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
    `max_read=${options.maxRead ?? MAX_TRANSFER}`,
  ]
  const flags = flagNames(options)
  return {
    mount: { source: name, subtype, flags: flags.reduce((sum, flag) => sum | FLAGS[flag], 0), data: data.join(',') },
    helper: [...flags, ...data, `fsname=${escapeOption(name)}`, `subtype=${subtype}`].join(','),
  }
}

/** A comma ends an option unless it is escaped (fuse(8)). */
export function escapeOption(value: string): string {
  return value.replace(/[\\,]/g, '\\$&')
}
