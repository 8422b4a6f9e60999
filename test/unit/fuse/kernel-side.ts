// The kernel's side of a session, for tests: builds requests, collects replies; no device.
import { viewOf } from '../../../src/codec/record.ts'
import * as P from '../../../src/fuse/protocol.ts'
import { REPLY_BYTES, Session } from '../../../src/fuse/session.ts'
import type { FileSystem } from '../../../src/vfs/filesystem.ts'

export interface Answer {
  /** Positive errno, 0 for success. */
  errno: number
  unique: number
  body: Buffer
}

export const text = (...names: string[]): Buffer => Buffer.from(names.map((name) => `${name}\0`).join(''))

/** INIT as Linux 6.18 sends it: every flag offered. */
const OFFER = { major: 7, minor: 45, maxReadahead: 131072, flags: 0xffff_ffff, flags2: 0x7ff }

export class KernelSide {
  readonly answers: Answer[] = []
  readonly errors: Error[] = []
  readonly backings: number[] = []
  readonly fileReplies: { unique: bigint; fd: number; offset: number; length: number }[] = []
  refuseBacking = false
  readonly session: Session
  readonly #replyBytes = Buffer.alloc(REPLY_BYTES)
  #buffer: Uint8Array = Buffer.alloc(0)
  #unique = 2

  constructor(fileSystem: Partial<FileSystem>, locks = true) {
    let nextBacking = 1
    this.session = new Session({
      fileSystem: fileSystem as FileSystem,
      device: {
        reply: (header, data) => this.#collect(Buffer.concat([header, data ?? new Uint8Array()])),
        answer: (length) => this.#collect(Buffer.from(this.#replyBytes.subarray(0, length))),
        replyFromFile: (unique, fd, offset, length) => void this.fileReplies.push({ unique, fd, offset, length }),
        openBacking: () => {
          if (this.refuseBacking) throw new Error('EPERM')
          this.backings.push(nextBacking)
          return nextBacking++
        },
        closeBacking: (id) => void this.backings.splice(this.backings.indexOf(id), 1),
        setRequestBuffer: (buffer) => {
          this.#buffer = buffer
        },
      },
      replyBytes: this.#replyBytes,
      wishes: { locks, readdirPlus: true },
      onInitialized: () => undefined,
      onError: (error) => this.errors.push(error),
    })
  }

  /** Sends raw bytes as one request. */
  raw(bytes: Uint8Array): void {
    this.#buffer.set(bytes)
    const length = this.session.receive(bytes.length)
    if (length > 0) this.#collect(Buffer.from(this.#replyBytes.subarray(0, length)))
  }

  /** Sends a request without waiting for its answer; returns its unique id. */
  send(opcode: number, node: number, ...body: Uint8Array[]): number {
    const unique = this.#unique
    this.#unique += 2
    const length = P.InHeader.size + body.reduce((sum, part) => sum + part.length, 0)
    const header = P.InHeader.encode({ length, opcode, unique, node, uid: 1000, gid: 100, pid: 42 })
    this.raw(Buffer.concat([header, ...body]))
    return unique
  }

  /** Sends a request and returns the answer that must be there at once. */
  ask(opcode: number, node: number, ...body: Uint8Array[]): Answer {
    const unique = this.send(opcode, node, ...body)
    const answer = this.answers.find((one) => one.unique === unique)
    if (answer === undefined) throw new Error(`opcode ${opcode} was not answered`)
    return answer
  }

  initialize(offer: Partial<typeof OFFER> = {}): Answer {
    return this.ask(26, 0, P.InitInExtended.encode({ ...OFFER, ...offer }), new Uint8Array(44))
  }

  #collect(message: Buffer): void {
    const { length, error, unique } = new P.OutHeader().at(viewOf(message), 0)
    if (length !== message.length) throw new Error(`a reply of ${message.length} bytes says ${length}`)
    this.answers.push({ errno: Math.abs(error), unique, body: Buffer.from(message.subarray(P.OutHeader.size)) })
  }
}
