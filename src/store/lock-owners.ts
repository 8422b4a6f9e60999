// The owners that hold or wait for locks, one object each, so that owners compare by identity.
import type { LockOwner } from './lock-types.ts'
import type { OwnerState } from './wait-graph.ts'

export class LockOwners {
  readonly #clients = new Map<string, Map<bigint | string, OwnerState>>()

  find({ client, owner }: LockOwner): OwnerState | undefined {
    return this.#clients.get(client)?.get(owner)
  }

  ofClient(client: string): OwnerState[] {
    return [...(this.#clients.get(client)?.values() ?? [])]
  }

  findOrAdd({ client, owner: key }: LockOwner): OwnerState {
    let owners = this.#clients.get(client)
    if (owners === undefined) {
      owners = new Map()
      this.#clients.set(client, owners)
    }
    let owner = owners.get(key)
    if (owner === undefined) {
      owner = { client, key, files: new Map(), waits: new Set() }
      owners.set(key, owner)
    }
    return owner
  }

  /** Forgets an owner that neither holds nor waits for anything. */
  tidy({ client, key, files, waits }: OwnerState): void {
    if (files.size + waits.size > 0) return
    const owners = this.#clients.get(client)
    owners?.delete(key)
    if (owners?.size === 0) this.#clients.delete(client)
  }
}
