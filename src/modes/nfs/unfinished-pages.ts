// What this client wrote and the kernel, which has just been given it, would ask for all the same. The kernel keeps a page
// that it was told whole; of one that a write covers in part it does not know the rest (`fuse_fill_write_pages` in
// fs/fuse/file.c), not even where there is none, behind the end of the file. So the last page of most files is read again,
// and with a program that writes in pieces of 10 KiB, as tar does, every third. Linux' own NFS client knows better; this
// stands in for it: the bytes are kept here until the kernel asks once, for as long as pages of its own would be right.
import type { NodeId } from '../../vfs/filesystem.ts'

const PAGE_BYTES = 4096
/** What a piece costs beyond its bytes, about. */
const PIECE_BYTES = 256
const MAX_BYTES = 16 << 20

/** Part of one page. `start`: where in the page. */
interface Piece {
  readonly start: number
  readonly bytes: Uint8Array
}

export class UnfinishedPages {
  readonly #maxBytes: number
  /** By page number. The file that was written last is the last one. */
  readonly #files = new Map<NodeId, Map<number, Piece>>()
  #bytes = 0

  constructor({ maxBytes = MAX_BYTES }: { readonly maxBytes?: number } = {}) {
    this.#maxBytes = maxBytes
  }

  /** What is kept, and what keeping it costs. */
  get bytes(): number {
    return this.#bytes
  }

  /** A program wrote; what is kept is copied. */
  wrote(node: NodeId, offset: number, data: Uint8Array): void {
    const end = offset + data.length
    const file = this.#files.get(node)
    if (file !== undefined) this.#dropWhole(file, Math.ceil(offset / PAGE_BYTES), Math.floor(end / PAGE_BYTES))
    for (let at = offset; at < end; ) {
      const stop = Math.min(end, pageEnd(at))
      if (stop - at < PAGE_BYTES) this.#put(node, at, data.subarray(at - offset, stop - offset))
      // Whole pages in between are the kernel's.
      at = stop % PAGE_BYTES === 0 ? Math.max(stop, end - (end % PAGE_BYTES)) : stop
    }
    this.#evict()
  }

  /**
   * All that a file has from `offset` on, at most `length` bytes, if it is all here; what is told is kept no longer.
   * `size`: where the file ends. Only while the file is believed to be the one that was written.
   */
  take(node: NodeId, { offset, length, size }: Asked): Uint8Array | undefined {
    const file = this.#files.get(node)
    const end = Math.min(offset + length, size)
    if (file === undefined || end <= offset) return undefined
    const pieces: Uint8Array[] = []
    for (let at = offset; at < end; at = pageEnd(at)) {
      const found = part(file.get(pageOf(at)), at % PAGE_BYTES, Math.min(end, pageEnd(at)) - at)
      if (found === undefined) return undefined
      pieces.push(found)
    }
    for (let page = pageOf(offset); page * PAGE_BYTES < end; page++) this.#delete(file, page)
    if (file.size === 0) this.#files.delete(node)
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
  }

  /** The file, or where it ends, is not what it was; or nobody asks for it any more. */
  drop(node: NodeId): void {
    const file = this.#files.get(node)
    if (file === undefined) return
    this.#files.delete(node)
    for (const { bytes } of file.values()) this.#bytes -= bytes.length + PIECE_BYTES
  }

  #put(node: NodeId, offset: number, bytes: Uint8Array): void {
    const file = this.#files.get(node) ?? new Map<number, Piece>()
    this.#files.delete(node)
    this.#files.set(node, file)
    const page = pageOf(offset)
    const piece = joined(file.get(page), { start: offset % PAGE_BYTES, bytes })
    this.#delete(file, page)
    file.set(page, piece)
    this.#bytes += piece.bytes.length + PIECE_BYTES
  }

  /** Pages from `first` to before `end`. */
  #dropWhole(file: Map<number, Piece>, first: number, end: number): void {
    if (end - first < file.size) for (let page = first; page < end; page++) this.#delete(file, page)
    else for (const page of file.keys()) if (page >= first && page < end) this.#delete(file, page)
  }

  #delete(file: Map<number, Piece>, page: number): void {
    const piece = file.get(page)
    if (piece === undefined) return
    file.delete(page)
    this.#bytes -= piece.bytes.length + PIECE_BYTES
  }

  #evict(): void {
    for (const [node, file] of this.#files) {
      for (const page of file.keys()) {
        if (this.#bytes <= this.#maxBytes) return
        this.#delete(file, page)
      }
      this.#files.delete(node)
    }
  }
}

interface Asked {
  readonly offset: number
  readonly length: number
  readonly size: number
}

const pageOf = (offset: number): number => Math.floor(offset / PAGE_BYTES)
const pageEnd = (offset: number): number => offset - (offset % PAGE_BYTES) + PAGE_BYTES

/** `length` bytes at `start` of a page, if all of them are there. */
function part(piece: Piece | undefined, start: number, length: number): Uint8Array | undefined {
  if (piece === undefined || start < piece.start || start + length > piece.start + piece.bytes.length) return undefined
  return piece.bytes.subarray(start - piece.start, start - piece.start + length)
}

/** A copy of both in one; of two with a gap in between only the later one is of use. */
function joined(earlier: Piece | undefined, later: Piece): Piece {
  const end = later.start + later.bytes.length
  if (earlier === undefined || earlier.start > end || earlier.start + earlier.bytes.length < later.start) {
    return { start: later.start, bytes: Uint8Array.from(later.bytes) }
  }
  const start = Math.min(earlier.start, later.start)
  const bytes = new Uint8Array(Math.max(end, earlier.start + earlier.bytes.length) - start)
  bytes.set(earlier.bytes, earlier.start - start)
  bytes.set(later.bytes, later.start - start)
  return { start, bytes }
}
