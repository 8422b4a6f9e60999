// What a volume is made of. The operations, one file each, are functions over these.

import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import { type Timespec, timespecFromMs } from '../posix/attributes.ts'
import type { ContentFiles } from './content-files.ts'
import type { Entries } from './entries.ts'
import type { Inodes } from './inodes.ts'
import type { MetadataView } from './metadata.ts'
import type { Notices } from './notices.ts'
import type { Usage } from './usage.ts'
import type { XattrQueries } from './xattrs.ts'

export interface Parts {
  readonly disk: Disk
  readonly clock: Clock
  readonly metadata: MetadataView
  readonly inodes: Inodes
  readonly entries: Entries
  readonly xattrs: XattrQueries
  readonly files: ContentFiles
  readonly usage: Usage
  readonly notices: Notices
}

export const timeNow = (parts: Parts): Timespec => timespecFromMs(parts.clock.now())
