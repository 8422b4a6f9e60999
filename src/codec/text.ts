// Names and other text on the wire: UTF-8, checked once, where it comes in.
import { isUtf8 } from 'node:buffer'
import { DecodeError } from './errors.ts'

/** Bytes that should be text are not UTF-8. */
export class EncodingError extends DecodeError {}

/** Text from `start` to `end` (exclusive). EncodingError if it is not UTF-8. */
export function decodeUtf8(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start, end)
  // The decoder replaces what it cannot read; only then is it worth asking why.
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) throw new EncodingError('text is not UTF-8')
  return text
}

/** Position of the NUL that ends the text at `start`: DecodeError if there is none before `end`. */
export function endOfText(bytes: Buffer, start: number, end: number): number {
  const nul = bytes.indexOf(0, start)
  if (nul < 0 || nul >= end) throw new DecodeError('text without a terminating NUL')
  return nul
}
