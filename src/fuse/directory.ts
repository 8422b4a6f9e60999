// Packs directory entries into the body of a READDIR or READDIRPLUS reply.
import type { DirectoryEntry, DirectorySink, Entry, NodeId } from '../vfs/filesystem.ts'
import { Dirent, EntryOut } from './protocol.ts'
import { HEADER_BYTES, Reply } from './reply.ts'

/** A reply of its own for one directory read: a file system may fill it over several turns. */
export class DirectoryReply implements DirectorySink {
  readonly wantsEntries: boolean
  readonly reply: Reply
  /** Position after the last complete entry. */
  end = HEADER_BYTES
  #full = false
  readonly #dirent = new Dirent()

  /** `room`: bytes the kernel has for the body. */
  constructor(room: number, wantsEntries: boolean) {
    this.wantsEntries = wantsEntries
    this.reply = new Reply(Buffer.allocUnsafe(HEADER_BYTES + room))
  }

  /** The nodes that were looked up for this listing, once per lookup. */
  *nodes(): Generator<NodeId> {
    if (!this.wantsEntries) return
    const { view } = this.reply
    const entry = new EntryOut()
    for (let at = HEADER_BYTES; at < this.end; ) {
      const { node } = entry.at(view, at)
      if (node !== 0) yield node
      at += EntryOut.size + direntBytes(this.#dirent.at(view, at + EntryOut.size).nameLength)
    }
  }

  add(entry: DirectoryEntry, full?: Entry): boolean {
    if (this.#full) return false
    const { bytes, view } = this.reply
    const at = this.end + (this.wantsEntries ? EntryOut.size : 0)
    const nameAt = at + Dirent.size
    const nameLength = Buffer.byteLength(entry.name)
    const end = at + direntBytes(nameLength)
    if (end > bytes.length) {
      this.#full = true
      return false
    }
    bytes.write(entry.name, nameAt)
    bytes.fill(0, nameAt + nameLength, end)
    const dirent = this.#dirent.at(view, at)
    dirent.ino = entry.ino
    dirent.cookie = entry.cookie
    dirent.nameLength = nameLength
    dirent.type = entry.type
    // Node 0 in a READDIRPLUS entry: the name exists, but nothing was looked up.
    if (this.wantsEntries) this.reply.putEntry(full ?? NOT_LOOKED_UP, this.end)
    this.end = end
    return true
  }
}

/** A fuse_dirent with its name, padded to 8 bytes (FUSE_DIRENT_SIZE). */
const direntBytes = (nameLength: number): number => (Dirent.size + nameLength + 7) & ~7

const NOT_LOOKED_UP = { node: 0, nameTtlMs: 0 } as const
