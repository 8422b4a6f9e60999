// What is noted beside a changed file, so that a later process can store it.
import * as v from 'valibot'
import { Fid, Who } from '../records.ts'

export const Note = v.object({
  cell: v.string(),
  fid: Fid,
  /** In whose name it is stored. */
  who: Who,
})
export type Note = v.InferOutput<typeof Note>

export const isNote = (value: unknown): value is Note => v.is(Note, value)
