// What is noted beside a changed file, so that a later process can store it.
import * as v from 'valibot'
import type { CachedFile } from '../../../vfs/whole-files/files.ts'
import type { WholeFileCache } from '../../../vfs/whole-files/whole-file-cache.ts'
import { Fid, Who } from '../records.ts'

export const Note = v.object({
  cell: v.string(),
  fid: Fid,
  /** In whose name it is stored. */
  who: Who,
  /** A program has closed it, or asked for it to be stored. What was not closed may be half of something. */
  closed: v.optional(v.boolean()),
})
export type Note = v.InferOutput<typeof Note>

export const isNote = (value: unknown): value is Note => v.is(Note, value)

/** Is on record when this returns. Throws FsError. */
export function noteClosed(cache: WholeFileCache, file: CachedFile, closed: boolean): void {
  const { note } = file
  if (isNote(note) && (note.closed ?? false) !== closed) cache.markDirty(file, { ...note, closed })
}
