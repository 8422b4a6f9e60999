// The only error that a decoder throws, and its counterpart.

/** The bytes are not what the protocol says: too short, too long, out of range, not text. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
}

/** A value that the protocol cannot express, or a message beyond its limit: a defect of whoever encodes it. */
export class EncodeError extends Error {
  override readonly name = 'EncodeError'
}
