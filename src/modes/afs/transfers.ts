// Whole files, in both directions.
import { read } from 'node:fs'
import { BufferPool } from '../../host/buffer-pool.ts'
import { MAY_READ, MAY_WRITE, mayTransfer } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isDirectory, isRegular } from '../../posix/mode.ts'
import type { ByteSource, IncomingBytes, WithBytes } from '../../rpc/ws/index.ts'
import type { Snapshot } from '../../store/replace.ts'
import type { Volume } from '../../store/volume.ts'
import type { AfsCalls, Caller, Target } from './afs-calls.ts'
import type { Arguments, Result } from './protocol.ts'
import { changesOf } from './status.ts'

/** What a file is read in, in bytes: a piece of a stream. */
const CHUNK_BYTES = 256 * 1024
/** Memory that is kept for the next fetches. */
const SPARE_CHUNKS = 64
/** Chunks are used again when they have left: new memory for each took a quarter of the time. */
export const fetchChunks = (): BufferPool => new BufferPool({ bytes: CHUNK_BYTES, spare: SPARE_CHUNKS })

export function fetchData(
  calls: AfsCalls,
  caller: Caller,
  { who, fid, offset }: Arguments<'FetchData'>,
): WithBytes<Result<'FetchData'>> {
  const target = calls.target(fid)
  const { served, ino } = target
  requireFile(target)
  const { volume } = served
  if (!mayTransfer(calls.credentials(who), volume.attributes(ino), MAY_READ)) throw new FsError('EACCES')
  const result = calls.known(served, ino, caller)
  const length = Math.max(0, result.status.length - offset)
  const bytes = length === 0 ? NOTHING : contentOf(calls, volume.openSnapshot(ino), { volume, offset, length })
  return { result, bytes, length, left: calls.giveChunk }
}

const NOTHING = Buffer.alloc(0)

interface Part {
  readonly volume: Volume
  readonly offset: number
  readonly length: number
}

/** What is in memory and little, at once. */
function contentOf({ chunks }: AfsCalls, snapshot: Snapshot, part: Part): Buffer | ByteSource {
  const { volume, offset, length } = part
  if (length > CHUNK_BYTES) return new SnapshotBytes(snapshot, part, chunks)
  const chunk = chunks.take(length).subarray(0, length)
  if (volume.readSnapshotCached(snapshot, chunk, offset) < length) return new SnapshotBytes(snapshot, part, chunks)
  volume.closeSnapshot(snapshot)
  return chunk
}

/** The bytes of a snapshot, which is closed when they are read or not wanted any more. */
class SnapshotBytes implements AsyncIterable<Buffer> {
  readonly #volume: Volume
  readonly #snapshot: Snapshot
  readonly #chunks: BufferPool
  #offset: number
  #left: number

  constructor(snapshot: Snapshot, { volume, offset, length }: Part, chunks: BufferPool) {
    this.#volume = volume
    this.#snapshot = snapshot
    this.#chunks = chunks
    this.#offset = offset
    this.#left = length
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return {
      next: async () => {
        try {
          const value = this.#left === 0 ? undefined : await this.#read()
          if (value !== undefined) return { done: false, value }
          this.#close()
          return { done: true, value: undefined }
        } catch (error) {
          this.#close()
          throw error
        }
      },
      return: async () => {
        this.#close()
        return { done: true, value: undefined }
      },
    }
  }

  async #read(): Promise<Buffer> {
    const bytes = Math.min(CHUNK_BYTES, this.#left)
    const chunk = this.#chunks.take(bytes).subarray(0, bytes)
    let got = this.#volume.readSnapshotCached(this.#snapshot, chunk, this.#offset)
    // For what is not in memory the event loop does not wait.
    while (got < chunk.length) {
      const more = await readLater(this.#snapshot, chunk, got, this.#offset + got)
      if (more === 0) throw new FsError('EIO', 'the file was truncated while it was read')
      got += more
    }
    this.#offset += got
    this.#left -= got
    return chunk
  }

  #close(): void {
    this.#left = 0
    this.#volume.closeSnapshot(this.#snapshot)
  }
}

function readLater(snapshot: Snapshot, into: Buffer, at: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    if (snapshot.closed || snapshot.fd < 0) {
      reject(new FsError('EIO', 'the volume is closed'))
      return
    }
    read(snapshot.fd, into, at, into.length - at, offset, (error, got) => {
      if (error) reject(FsError.from(error))
      else resolve(got)
    })
  })
}

export async function storeData(
  calls: AfsCalls,
  caller: Caller,
  args: Arguments<'StoreData'>,
  bytes: IncomingBytes,
): Promise<Result<'StoreData'>> {
  const target = calls.changeable(args.fid)
  return calls.whileServed(target.served, () => store(calls, caller, target, { ...args, bytes }))
}

async function store(
  calls: AfsCalls,
  caller: Caller,
  target: Target,
  { who, fid, length, durable, changes, bytes }: Arguments<'StoreData'> & { readonly bytes: IncomingBytes },
): Promise<Result<'StoreData'>> {
  const { served, ino } = target
  requireFile(target)
  const { volume } = served
  const as = calls.credentials(who)
  if (!mayTransfer(as, volume.attributes(ino), MAY_WRITE)) throw new FsError('EACCES')
  const staged = volume.stage(ino, length)
  try {
    for await (const piece of bytes) {
      if (staged.bytes + piece.length > length) throw new FsError('EINVAL', 'more bytes than were announced')
      volume.appendStaged(staged, piece)
    }
    if (staged.bytes < length) throw new FsError('EINVAL', 'fewer bytes than were announced')
    if (durable) await volume.syncStaged(staged)
    const stored = await calls.change(
      served,
      caller,
      () => [ino],
      () => {
        calls.changeable(fid)
        const { dataVersion: previousVersion } = volume.changeOf(ino)
        volume.replaceContent(staged, changesOf(changes), as)
        return { file: calls.known(served, ino, caller), previousVersion }
      },
    )
    if (durable) await volume.fsync(ino, false)
    return stored
  } finally {
    volume.discardStaged(staged)
  }
}

function requireFile({ served: { volume }, ino }: Target): void {
  const mode = volume.modeOf(ino)
  if (isDirectory(mode)) throw new FsError('EISDIR')
  if (!isRegular(mode)) throw new FsError('EINVAL', 'not a regular file')
}
