// What stands in the messages of a connection. A binary message of WebSocket (RFC 6455 §5.6) is either a number of small
// frames, MessagePack lists one after the other, or a piece of a stream: seven bytes of header, then raw bytes. The first
// byte tells: a list of MessagePack begins with 0x90 to 0x9f.
import { Packr, Unpackr } from 'msgpackr'
import { DecodeError, EncodeError } from '../../codec/errors.ts'
import { checkMessage } from './message-check.ts'
import type { AnyProcedure } from './program.ts'

const [CALL, ANSWER, FAILURE, CANCEL, NOTE, CREDIT] = [0, 1, 2, 3, 4, 5] as const

/** Which of a call's streams: the one that comes with the call, or the one that comes with its answer. */
export type Direction = 'in' | 'out'

/** How an answer fails: by an errno, by an error of the program's table, or as the services refuse it. */
export type FailureKind = 'errno' | 'service' | 'refusal'
const FAILURE_KINDS: readonly FailureKind[] = ['errno', 'service', 'refusal']

export interface CallFrame {
  readonly kind: 'call'
  /** Counts up with each call of this side; repetitions over another connection keep it. */
  readonly id: number
  readonly program: number
  readonly version: number
  readonly procedure: number
  /** The caller has the answers to all calls below. */
  readonly floor: number
  readonly args: unknown
  /** How many bytes come with it, if that is known. */
  readonly length: number | undefined
  /** These, if they are few. */
  readonly whole?: Buffer
}

export type Frame =
  | CallFrame
  | {
      readonly kind: 'answer'
      readonly id: number
      readonly result: unknown
      readonly length: number | undefined
      readonly whole?: Buffer
    }
  | {
      readonly kind: 'failure'
      readonly id: number
      readonly by: FailureKind
      readonly code: string
      readonly detail: unknown
    }
  /** The caller does not want the answer any more. There will be one all the same. */
  | { readonly kind: 'cancel'; readonly id: number }
  /** A call without an answer. */
  | {
      readonly kind: 'note'
      readonly program: number
      readonly version: number
      readonly procedure: number
      readonly args: unknown
    }
  /** So many bytes more may be sent. */
  | { readonly kind: 'credit'; readonly id: number; readonly direction: Direction; readonly bytes: number }

/** A class: nothing that a peer writes as MessagePack can look like one. */
export class Piece {
  readonly kind = 'piece'
  readonly id: number
  readonly direction: Direction
  readonly data: Buffer
  readonly last: boolean

  constructor({ id, direction, last }: PieceHeader, data: Buffer) {
    this.id = id
    this.direction = direction
    this.last = last
    this.data = data
  }
}

export interface PieceHeader {
  readonly id: number
  readonly direction: Direction
  /** The stream ends with it. */
  readonly last: boolean
}

export type Incoming = Frame | Piece

/** Ids fit into the header of a piece. */
export const MAX_ID = 2 ** 48 - 1

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })

/** Values as one after the other. EncodeError for what the other side would not take. */
export function pack(value: unknown): Buffer {
  try {
    const packed = packr.pack(value)
    checkMessage(packed)
    return packed
  } catch (error) {
    throw new EncodeError(`no plain data: ${(error as Error).message}`, { cause: error })
  }
}

/** All values in a message. Bytes are views on it. DecodeError for everything else. */
export function unpack(message: Buffer): unknown[] {
  checkMessage(message)
  try {
    return unpackr.unpackMultiple(message) as unknown[]
  } catch (error) {
    throw new DecodeError('no MessagePack', { cause: error })
  }
}

type Target = Pick<AnyProcedure, 'program' | 'version' | 'number'>

/** Up to so many bytes go along in the frame that they belong to: one message instead of three. */
export const WHOLE_BYTES = 64 * 1024

/** `bytes`: those that belong to it, or how many will follow, if that is known. */
export const encodeCall = (id: number, to: Target, floor: number, args: unknown, bytes?: number | Uint8Array): Buffer =>
  pack([CALL, id, to.program, to.version, to.number, floor, plain(args), bytes ?? null])
export const encodeAnswer = (id: number, result: unknown, bytes?: number | Uint8Array): Buffer =>
  pack([ANSWER, id, plain(result), bytes ?? null])
export const encodeFailure = (id: number, by: FailureKind, code: string, detail?: unknown): Buffer =>
  pack([FAILURE, id, FAILURE_KINDS.indexOf(by), code, plain(detail)])
export const encodeCancel = (id: number): Buffer => pack([CANCEL, id])
export const encodeNote = (to: Target, args: unknown): Buffer =>
  pack([NOTE, to.program, to.version, to.number, plain(args)])
export const encodeCredit = (id: number, direction: Direction, bytes: number): Buffer =>
  pack([CREDIT, id, direction === 'in' ? 0 : 1, bytes])

const plain = (value: unknown): unknown => (value === undefined ? null : value)

/** A small frame from a value of a message. DecodeError if it is none. */
export function readFrame(value: unknown): Frame {
  if (!Array.isArray(value)) throw new DecodeError('a frame is a list')
  const [kind] = value
  switch (kind) {
    case CALL: {
      expectFields(value, 8)
      const [, id, program, version, procedure, floor, args, bytes] = value
      return {
        kind: 'call',
        id: natural(id),
        program: natural(program),
        version: natural(version),
        procedure: natural(procedure),
        floor: natural(floor),
        args,
        ...bytesOf(bytes),
      }
    }
    case ANSWER:
      expectFields(value, 4)
      return { kind: 'answer', id: natural(value[1]), result: value[2], ...bytesOf(value[3]) }
    case FAILURE: {
      expectFields(value, 5)
      const [, id, by, code, detail] = value
      const known = FAILURE_KINDS[natural(by)]
      if (known === undefined || typeof code !== 'string' || code.length > 64) throw new DecodeError('no failure')
      return { kind: 'failure', id: natural(id), by: known, code, detail }
    }
    case CANCEL:
      expectFields(value, 2)
      return { kind: 'cancel', id: natural(value[1]) }
    case NOTE: {
      expectFields(value, 5)
      const [, program, version, procedure, args] = value
      return {
        kind: 'note',
        program: natural(program),
        version: natural(version),
        procedure: natural(procedure),
        args,
      }
    }
    case CREDIT: {
      expectFields(value, 4)
      const [, id, direction, bytes] = value
      if (direction !== 0 && direction !== 1) throw new DecodeError('no direction')
      return { kind: 'credit', id: natural(id), direction: direction === 0 ? 'in' : 'out', bytes: natural(bytes) }
    }
    default:
      throw new DecodeError('a frame of no known kind')
  }
}

function expectFields(value: readonly unknown[], fields: number): void {
  if (value.length !== fields) throw new DecodeError(`a frame of ${value.length} fields`)
}

function natural(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_ID) return value
  throw new DecodeError('a number that is none, or too large')
}

function bytesOf(value: unknown): Pick<CallFrame, 'length' | 'whole'> {
  if (value === null) return { length: undefined }
  if (!(value instanceof Uint8Array)) return { length: natural(value) }
  if (value.length > WHOLE_BYTES) throw new DecodeError('so many bytes belong in pieces')
  return { length: value.length, whole: value as Buffer }
}

export const PIECE_HEADER_BYTES = 7
/** The first byte of a piece; plus 1 if it is the last. */
const [PIECE_IN, PIECE_OUT] = [0x10, 0x20]

export function pieceHeader({ id, direction, last }: PieceHeader): Buffer {
  const header = Buffer.allocUnsafe(PIECE_HEADER_BYTES)
  header[0] = (direction === 'in' ? PIECE_IN : PIECE_OUT) + (last ? 1 : 0)
  header.writeUIntBE(id, 1, 6)
  return header
}

/** The piece in a message, or undefined if it has none. Fragments are how it came (RFC 6455 §5.4). */
export function readPiece(fragments: readonly Buffer[]): Piece | undefined {
  const kind = (fragments[0]?.[0] ?? 0) & 0xfe
  if (kind !== PIECE_IN && kind !== PIECE_OUT) return undefined
  const [header, data] = fragments.length === 2 ? fragments : [undefined, undefined]
  if (header?.length === PIECE_HEADER_BYTES && data !== undefined) return piece(header, data)
  // Somebody else's fragments.
  const message = fragments.length === 1 ? (fragments[0] as Buffer) : Buffer.concat(fragments)
  if (message.length < PIECE_HEADER_BYTES) throw new DecodeError('a piece without a header')
  return piece(message, message.subarray(PIECE_HEADER_BYTES))
}

function piece(header: Buffer, data: Buffer): Piece {
  const first = header.readUInt8(0)
  const direction = (first & 0xfe) === PIECE_IN ? 'in' : 'out'
  return new Piece({ id: header.readUIntBE(1, 6), direction, last: (first & 1) === 1 }, data)
}
