// Both directions of one connection: the calls that this side makes, and those that come.
import type { Clock } from '../../host/clock.ts'
import type { WsConnection } from './connection.ts'
import type { Incoming } from './frames.ts'
import type { IncomingCalls } from './incoming-calls.ts'
import type { OutgoingCalls } from './outgoing-calls.ts'

export class Conversation {
  readonly #outgoing: OutgoingCalls
  readonly #incoming: IncomingCalls

  constructor(outgoing: OutgoingCalls, incoming: IncomingCalls) {
    this.#outgoing = outgoing
    this.#incoming = incoming
  }

  /** ProtocolError if it makes no sense here. */
  received(message: Incoming): void {
    const [incoming, outgoing] = [this.#incoming, this.#outgoing]
    switch (message.kind) {
      case 'call':
        incoming.call(message)
        break
      case 'answer':
        outgoing.answered(message)
        break
      case 'failure':
        outgoing.failed(message)
        break
      case 'piece':
        // Whose call it is, the direction says: the bytes of a call come to whoever serves it.
        if (message.direction === 'in') incoming.piece(message)
        else outgoing.piece(message)
        break
      case 'credit':
        if (message.direction === 'in') outgoing.credit(message.id, message.bytes)
        else incoming.credit(message.id, message.bytes)
        break
      case 'cancel':
        incoming.cancel(message.id)
        break
      case 'note':
        incoming.note(message)
        break
    }
  }

  /** The connection is gone. */
  lost(): void {
    this.#incoming.lost()
    this.#outgoing.lost()
  }
}

/**
 * Asks for signs of life, and calls `dead` when nothing has moved for as long as between two of them: nothing came, and
 * nothing of what was sent has left. Returns how to stop it.
 */
export function heartbeat(connection: WsConnection, clock: Clock, intervalMs: number, dead: () => void): () => void {
  let before = connection.progress
  let asked = false
  let cancel = () => {}
  const beat = () => {
    const { progress } = connection
    if (asked && progress === before) {
      dead()
      return
    }
    before = progress
    asked = true
    connection.ping()
    cancel = clock.after(intervalMs, beat)
  }
  cancel = clock.after(intervalMs, beat)
  return () => cancel()
}
