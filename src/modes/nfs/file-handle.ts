// File handles (RFC 1813 §2.3.3) of our server: opaque to clients, the same for ever, and not to be guessed.
//
// A handle names the export through which it was given out, the inode and its generation. A keyed MAC makes sure that the
// server gave it out: who may not look something up cannot make up a handle for it. Nothing else is kept, so handles
// survive restarts.
import { hash, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'

const VERSION = 1
const MAC_BYTES = 16
const BODY_BYTES = 20
/** [version, 3 × 0][export u32][inode u64][generation u32][MAC], big-endian */
export const FILE_HANDLE_BYTES = BODY_BYTES + MAC_BYTES
/** Handles whose MAC need not be computed again: some 15 MiB. */
const KNOWN_LIMIT = 1 << 16
/** Of SHA-256: what it works on at a time, and what it gives. */
const BLOCK_BYTES = 64
const HASH_BYTES = 32
const TWO_32 = 2 ** 32
/** Bytes of the key. */
export const KEY_BYTES = 32

export interface FileHandle {
  /** Number of the export. */
  readonly exportId: number
  readonly ino: number
  readonly generation: number
}

interface Given {
  readonly handle: FileHandle
  readonly bytes: Buffer
}

export class FileHandles {
  readonly #inner: Buffer
  readonly #outer: Buffer
  /** What was given out for an inode last, or came back for it, by its number. */
  readonly #given = new LRUCache<number, Given>({ max: KNOWN_LIMIT })

  /** `key`: secret, and the same for as long as handles are to be good. */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new RangeError(`a key of ${KEY_BYTES} bytes is needed`)
    this.#inner = padOf(key, 0x36, BODY_BYTES)
    this.#outer = padOf(key, 0x5c, HASH_BYTES)
  }

  /** The bytes must not be changed. */
  encode({ exportId, ino, generation }: FileHandle): Buffer {
    const given = this.#given.get(ino)
    if (given?.handle.exportId === exportId && given.handle.generation === generation) return given.bytes
    const bytes = Buffer.allocUnsafe(FILE_HANDLE_BYTES)
    bytes.writeUInt32BE(VERSION * 0x100_0000, 0)
    bytes.writeUInt32BE(exportId, 4)
    bytes.writeUInt32BE(Math.floor(ino / TWO_32), 8)
    bytes.writeUInt32BE(ino % TWO_32, 12)
    bytes.writeUInt32BE(generation, 16)
    this.#mac(bytes).copy(bytes, BODY_BYTES)
    // Whoever gets it comes back with it.
    this.#given.set(ino, { handle: { exportId, ino, generation }, bytes })
    return bytes
  }

  /** undefined: this server never gave it out (NFS3ERR_BADHANDLE). */
  decode(bytes: Buffer): FileHandle | undefined {
    if (bytes.length !== FILE_HANDLE_BYTES || bytes[0] !== VERSION) return undefined
    const ino = bytes.readUInt32BE(8) * TWO_32 + bytes.readUInt32BE(12)
    const given = this.#given.get(ino)
    if (given !== undefined && timingSafeEqual(given.bytes, bytes)) return given.handle
    if (!timingSafeEqual(this.#mac(bytes), bytes.subarray(BODY_BYTES))) return undefined
    const handle = { exportId: bytes.readUInt32BE(4), ino, generation: bytes.readUInt32BE(16) }
    this.#given.set(ino, { handle, bytes: Buffer.from(bytes) })
    return handle
  }

  /** The first half of HMAC-SHA-256 (RFC 2104) of the body: two hashes in one go each, without objects to keep. */
  #mac(bytes: Buffer): Buffer {
    bytes.copy(this.#inner, BLOCK_BYTES, 0, BODY_BYTES)
    hash('sha256', this.#inner, 'buffer').copy(this.#outer, BLOCK_BYTES)
    return hash('sha256', this.#outer, 'buffer').subarray(0, MAC_BYTES)
  }
}

/** The key, padded to a block and combined with `pad` (RFC 2104 §2), and room for what is hashed behind it. */
function padOf(key: Uint8Array, pad: number, room: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES + room)
  for (let at = 0; at < BLOCK_BYTES; at++) bytes[at] = (key[at] ?? 0) ^ pad
  return bytes
}
