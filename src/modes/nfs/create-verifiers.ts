// Verifiers of exclusive CREATEs: 8 bytes that no other client and no other call has (RFC 1813 §3.3.8), so that a server can
// tell the repetition of a call from somebody else's.
import { NFS3_CREATEVERFSIZE } from './nfs3-types.ts'

export class CreateVerifiers {
  /** What tells one mount from another. */
  static readonly seedBytes = NFS3_CREATEVERFSIZE
  readonly #start: bigint
  #made = 0n

  /** `seed`: random bytes, `seedBytes` of them. */
  constructor(seed: Buffer) {
    this.#start = seed.readBigUInt64BE()
  }

  next(): Buffer {
    const verifier = Buffer.allocUnsafe(NFS3_CREATEVERFSIZE)
    verifier.writeBigUInt64BE(BigInt.asUintN(64, this.#start + this.#made++))
    return verifier
  }
}
