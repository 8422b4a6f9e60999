// Recalls on their way to clients of several protocols: a client's name begins with that of its protocol (`afs:…`), and
// the server of that protocol sends.
import type { RecallAnswer, RecallSender } from './grant-coordinator.ts'
import type { Recall } from './grant-types.ts'

export class GrantRecalls {
  readonly #senders = new Map<string, RecallSender>()

  /** From now on `send` reaches the clients whose names begin with `protocol` and a colon. Returns how to stop. */
  serve(protocol: string, send: RecallSender): () => void {
    if (this.#senders.has(protocol)) throw new TypeError(`two servers of ${protocol} on one volume`)
    this.#senders.set(protocol, send)
    return () => this.#senders.delete(protocol)
  }

  /** Rejects for a client whose server is gone: it cannot be reached. */
  readonly send = (recall: Recall): RecallAnswer | Promise<RecallAnswer> => {
    const protocol = recall.client.slice(0, recall.client.indexOf(':'))
    const send = this.#senders.get(protocol)
    if (send === undefined) throw new Error(`nobody serves ${recall.client}`)
    return send(recall)
  }
}
