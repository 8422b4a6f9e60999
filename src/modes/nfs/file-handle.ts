// File handles (RFC 1813 §2.3.3) of our server: opaque to clients, the same for ever, and not to be guessed.
//
// A handle names the export through which it was given out, the inode and its generation. A keyed MAC makes sure that the
// server gave it out: who may not look something up cannot make up a handle for it. Nothing else is kept, so handles
// survive restarts.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'

const VERSION = 1
const MAC_BYTES = 16
const BODY_BYTES = 20
/** [version, 3 × 0][export u32][inode u64][generation u32][MAC], big-endian */
export const FILE_HANDLE_BYTES = BODY_BYTES + MAC_BYTES
/** Handles whose MAC need not be computed again, which takes longer than the rest of a LOOKUP: some 20 MiB. */
const KNOWN_LIMIT = 1 << 16
/** Bytes of the key. */
export const KEY_BYTES = 32

export interface FileHandle {
  /** Number of the export. */
  readonly exportId: number
  readonly ino: number
  readonly generation: number
}

export class FileHandles {
  readonly #key: Uint8Array
  readonly #known = new LRUCache<string, FileHandle>({ max: KNOWN_LIMIT })
  /** What was given out for an inode last, by its number. */
  readonly #given = new LRUCache<number, FileHandle & { readonly bytes: Buffer }>({ max: KNOWN_LIMIT })

  /** `key`: secret, and the same for as long as handles are to be good. */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new RangeError(`a key of ${KEY_BYTES} bytes is needed`)
    this.#key = key
  }

  /** The bytes must not be changed. */
  encode(handle: FileHandle): Buffer {
    const { exportId, ino, generation } = handle
    const given = this.#given.get(ino)
    if (given?.exportId === exportId && given.generation === generation) return given.bytes
    const bytes = this.#make(handle)
    this.#given.set(ino, { exportId, ino, generation, bytes })
    // Whoever gets it comes back with it.
    this.#known.set(bytes.toString('latin1'), { exportId, ino, generation })
    return bytes
  }

  #make(handle: FileHandle): Buffer {
    const bytes = Buffer.alloc(FILE_HANDLE_BYTES)
    bytes[0] = VERSION
    bytes.writeUInt32BE(handle.exportId, 4)
    bytes.writeBigUInt64BE(BigInt(handle.ino), 8)
    bytes.writeUInt32BE(handle.generation, 16)
    this.#mac(bytes).copy(bytes, BODY_BYTES)
    return bytes
  }

  /** undefined: this server never gave it out (NFS3ERR_BADHANDLE). */
  decode(bytes: Buffer): FileHandle | undefined {
    if (bytes.length !== FILE_HANDLE_BYTES || bytes[0] !== VERSION) return undefined
    const text = bytes.toString('latin1')
    const known = this.#known.get(text)
    if (known !== undefined) return known
    if (!timingSafeEqual(this.#mac(bytes), bytes.subarray(BODY_BYTES))) return undefined
    const handle: FileHandle = {
      exportId: bytes.readUInt32BE(4),
      ino: Number(bytes.readBigUInt64BE(8)),
      generation: bytes.readUInt32BE(16),
    }
    this.#known.set(text, handle)
    return handle
  }

  #mac(bytes: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(bytes.subarray(0, BODY_BYTES)).digest().subarray(0, MAC_BYTES)
  }
}
