// The only error that a decoder throws.

/** The bytes are not what the protocol says: too short, too long, out of range, not text. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
}
