// Paths in messages.
import { relative } from 'node:path'

/** A path as people like to read it: relative if it is below the working directory. */
export function shown(path: string, directory = process.cwd()): string {
  const short = relative(directory, path)
  return short === '' || short.startsWith('..') ? path : short
}
