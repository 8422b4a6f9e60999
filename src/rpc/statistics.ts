// Counters per procedure, of a server or a client.

export interface ProcedureCounters {
  calls: number
  /** Calls that the RPC layer refused or could not answer, or that got no answer. */
  failures: number
  /** Of a client: times that a call was sent again. Of a server: repetitions that the duplicate request cache met. */
  retransmissions: number
  bytesSent: number
  bytesReceived: number
}

/** By the name of the procedure: `NFS3.GETATTR`. As many as tables have rows. */
export class Statistics {
  readonly #procedures = new Map<string, ProcedureCounters>()

  of(procedure: string): ProcedureCounters {
    let counters = this.#procedures.get(procedure)
    if (counters === undefined) {
      counters = { calls: 0, failures: 0, retransmissions: 0, bytesSent: 0, bytesReceived: 0 }
      this.#procedures.set(procedure, counters)
    }
    return counters
  }

  /** A copy of all counters, as status files show them. */
  snapshot(): Record<string, Readonly<ProcedureCounters>> {
    return Object.fromEntries([...this.#procedures].map(([name, counters]) => [name, { ...counters }]))
  }
}
