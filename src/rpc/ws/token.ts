// The secret that both sides of a connection know, and how each proves it without telling it.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { FsError } from '../../posix/errors.ts'

const LEAST_BYTES = 16
const MOST_BYTES = 4096
/** Permissions of others than owner and group. */
const OTHERS = 0o007

/** Neither logs nor JSON show what is in it. */
export class Token {
  readonly #secret: Buffer

  /** Of 16 bytes at least: whoever hears a proof can try short ones. */
  constructor(secret: Buffer) {
    if (secret.length < LEAST_BYTES) throw new FsError('EINVAL', `a token has ${LEAST_BYTES} bytes at least`)
    this.#secret = Buffer.from(secret)
  }

  /** HMAC-SHA-256 (RFC 2104) of what was said so far, by one side: the other's proof is another one. */
  proof(side: 'client' | 'server', transcript: readonly Buffer[]): Buffer {
    const hmac = createHmac('sha256', this.#secret).update(`proteus ws 1 ${side}\0`)
    for (const part of transcript) {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(part.length)
      hmac.update(length).update(part)
    }
    return hmac.digest()
  }

  /** Takes the same time wherever the difference is. */
  isProof(given: Buffer, side: 'client' | 'server', transcript: readonly Buffer[]): boolean {
    const right = this.proof(side, transcript)
    return given.length === right.length && timingSafeEqual(given, right)
  }
}

/**
 * The token in a file: its text without white space around it. FsError, as the file system has it, EACCES if others may read
 * or change the file, EINVAL if it is too short or too long.
 */
export async function readToken(path: string): Promise<Token> {
  let file: FileHandle | undefined
  try {
    file = await open(path)
    const { mode } = await file.stat()
    if ((mode & OTHERS) !== 0) throw new FsError('EACCES', `${path} is open to everybody: chmod o= ${path}`)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MOST_BYTES + 1), 0, MOST_BYTES + 1, 0)
    if (bytesRead > MOST_BYTES) throw new FsError('EINVAL', `${path} is longer than a token`)
    return new Token(Buffer.from(buffer.subarray(0, bytesRead).toString('latin1').trim(), 'latin1'))
  } catch (error) {
    throw FsError.from(error)
  } finally {
    await file?.close()
  }
}
