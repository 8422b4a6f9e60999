// Encodes what a file system answers into a reply message. A message is a fuse_out_header (16 bytes) and a body.
import { viewOf } from '../codec/record.ts'
import type { Attributes, FileSystemStats } from '../posix/attributes.ts'
import type { AbsentEntry, AttributesReply, Entry, FileLock, TtlMs } from '../vfs/filesystem.ts'
import {
  AttributesOut,
  EntryOut,
  LockOut,
  OpenOut,
  OutHeader,
  STATX_MASK,
  STATX_SPARE_BYTES,
  StatfsOut,
  StatxOut,
} from './protocol.ts'

export const HEADER_BYTES = OutHeader.size
/** fcntl's F_RDLCK, F_WRLCK, F_UNLCK as the kernel numbers them. */
export const LOCK_TYPE = { shared: 0, exclusive: 1, unlock: 2 } as const
/** The kernel's "to the end of the file": OFFSET_MAX. */
export const OFFSET_MAX = 0x7fff_ffff_ffff_ffffn

/** About thirty years: longer times to live say "until told otherwise". */
const TTL_MAX_MS = 1e12

type AttributesView = InstanceType<typeof AttributesOut> | InstanceType<typeof EntryOut>

function putAttributes(out: AttributesView, from: Attributes, ttlMs: TtlMs): void {
  const ttl = Math.min(ttlMs, TTL_MAX_MS)
  out.attributesValid = Math.floor(ttl / 1000)
  out.attributesValidNsec = (ttl % 1000) * 1e6
  out.ino = from.ino
  out.size = from.size
  out.blocks = from.blocks
  out.atime = from.atime.sec
  out.mtime = from.mtime.sec
  out.ctime = from.ctime.sec
  out.atimeNsec = from.atime.nsec
  out.mtimeNsec = from.mtime.nsec
  out.ctimeNsec = from.ctime.nsec
  out.mode = from.mode
  out.nlink = from.nlink
  out.uid = from.uid
  out.gid = from.gid
  out.rdev = from.rdev
  out.blockSize = from.blockSize
  out.attributeFlags = 0
}

/** One reply under construction. Each `put…` writes a body at `at` and returns the position after it. */
export class Reply {
  readonly bytes: Buffer
  readonly view: DataView
  readonly #header = new OutHeader()
  readonly #attributes = new AttributesOut()
  readonly #entry = new EntryOut()
  readonly #open = new OpenOut()

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.view = viewOf(bytes)
  }

  /** Completes a message of `length` bytes; returns `length`. */
  finish(unique: number, length: number, errno = 0): number {
    const header = this.#header.at(this.view, 0)
    header.length = length
    header.error = -errno
    header.unique = unique
    return length
  }

  putAttributes(reply: AttributesReply, at = HEADER_BYTES): number {
    const out = this.#attributes.at(this.view, at)
    out.dummy = 0
    putAttributes(out, reply.attributes, reply.attributesTtlMs)
    return at + AttributesOut.size
  }

  /** An entry, or (node 0) the promise that there is none. */
  putEntry(entry: Entry | AbsentEntry, at = HEADER_BYTES): number {
    if (entry.node === 0) this.bytes.fill(0, at, at + EntryOut.size)
    const out = this.#entry.at(this.view, at)
    const ttl = Math.min(entry.nameTtlMs, TTL_MAX_MS)
    out.node = entry.node
    out.nameValid = Math.floor(ttl / 1000)
    out.nameValidNsec = (ttl % 1000) * 1e6
    if (entry.node !== 0) {
      const { generation, attributes, attributesTtlMs } = entry as Entry
      out.generation = generation
      putAttributes(out, attributes, attributesTtlMs)
    }
    return at + EntryOut.size
  }

  putOpen(open: { handle: number; flags: number; backingId: number }, at = HEADER_BYTES): number {
    const out = this.#open.at(this.view, at)
    out.handle = open.handle
    out.flags = open.flags
    out.backingId = open.backingId
    return at + OpenOut.size
  }

  putStatx({ attributes: from, attributesTtlMs }: AttributesReply): number {
    const end = HEADER_BYTES + StatxOut.size + STATX_SPARE_BYTES
    this.bytes.fill(0, HEADER_BYTES, end)
    const ttl = Math.min(attributesTtlMs, TTL_MAX_MS)
    Object.assign(new StatxOut().at(this.view, HEADER_BYTES), {
      attributesValid: Math.floor(ttl / 1000),
      attributesValidNsec: (ttl % 1000) * 1e6,
      mask: STATX_MASK,
      blockSize: from.blockSize,
      nlink: from.nlink,
      uid: from.uid,
      gid: from.gid,
      mode: from.mode,
      ino: from.ino,
      size: from.size,
      blocks: from.blocks,
      atime: from.atime.sec,
      atimeNsec: from.atime.nsec,
      btime: from.btime.sec,
      btimeNsec: from.btime.nsec,
      ctime: from.ctime.sec,
      ctimeNsec: from.ctime.nsec,
      mtime: from.mtime.sec,
      mtimeNsec: from.mtime.nsec,
      // The kernel's 32-bit device encoding: minor's low 8 bits, 12 bits of major, the rest of minor.
      rdevMajor: (from.rdev >>> 8) & 0xfff,
      rdevMinor: (from.rdev & 0xff) | ((from.rdev >>> 12) & 0xfff00),
    })
    return end
  }

  putLock(lock: FileLock | null): number {
    const out = new LockOut().at(this.view, HEADER_BYTES)
    out.start = BigInt(lock?.start ?? 0)
    out.end = lock === null || lock.end === Number.POSITIVE_INFINITY ? OFFSET_MAX : BigInt(lock.end)
    out.type = lock === null ? LOCK_TYPE.unlock : lock.exclusive ? LOCK_TYPE.exclusive : LOCK_TYPE.shared
    out.pid = lock?.pid ?? 0
    return HEADER_BYTES + LockOut.size
  }

  putStatfs(stats: FileSystemStats): number {
    this.bytes.fill(0, HEADER_BYTES, HEADER_BYTES + StatfsOut.size)
    Object.assign(new StatfsOut().at(this.view, HEADER_BYTES), { ...stats, fragmentSize: stats.blockSize })
    return HEADER_BYTES + StatfsOut.size
  }

  putBytes(bytes: Uint8Array, at = HEADER_BYTES): number {
    this.bytes.set(bytes, at)
    return at + bytes.length
  }
}
