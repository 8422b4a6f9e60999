// What clients can make a server of typed services do and hold.
import type { KeptAnswersLimits } from './kept-answers.ts'

const MIB = 1024 * 1024

export interface WsLimits {
  /** Further connections are closed at once. */
  readonly connections: number
  /** Connections that have not said yet who they are, and how long they have for it. */
  readonly handshakes: number
  readonly handshakeMs: number
  /** The most bytes of a message, or of a piece of a stream. */
  readonly messageBytes: number
  /** Calls in progress: of one client, who is told so, and in all. */
  readonly calls: number
  readonly allCalls: number
  /** Bytes that a client has not taken. Beyond, it is not read. */
  readonly queueBytes: number
  /** Bytes that clients may send ahead of whoever reads them: one, and all. Each stream has 256 KiB besides. */
  readonly windowsBytes: number
  readonly allWindowsBytes: number
  /** Clients that are known, and for how long when they are not connected. */
  readonly clients: number
  readonly rememberMs: number
  /** Answers that are kept for one client. */
  readonly replies: KeptAnswersLimits
}

export const WS_LIMITS: WsLimits = {
  connections: 4096,
  handshakes: 256,
  handshakeMs: 10_000,
  messageBytes: MIB + 64 * 1024,
  calls: 256,
  allCalls: 16_384,
  queueBytes: 4 * MIB,
  windowsBytes: 64 * MIB,
  allWindowsBytes: 512 * MIB,
  clients: 8192,
  rememberMs: 10 * 60_000,
  replies: {},
}
