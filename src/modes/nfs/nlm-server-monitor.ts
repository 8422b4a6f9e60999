// What a lock server must know after a restart: its state number, and which clients had locks, in the manner of statd(8)
// (`state`, `sm/`). A client is recorded before it gets its first lock, and forgotten when it has nothing left.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { removeFile, syncDirectory, writeDurably } from './durable-file.ts'

/** A client of locks. */
export interface Monitored {
  /** IP address. */
  readonly address: string
  /** Its own name for itself: `caller_name`. */
  readonly name: string
  /** It keeps a connection on which it takes calls; else it is told of a restart by SM_NOTIFY. */
  readonly acceptsCalls: boolean
}

/** State numbers are signed on the wire: after the largest they begin anew. */
const STATE_MAX = 0x7fff_ffff

/** Names a client, in the lock table too. Addresses have no spaces. Nobody speaks for a client from another address. */
export const clientKey = ({ address, name }: Pick<Monitored, 'address' | 'name'>): string => `nfs ${address} ${name}`

export class LockMonitor {
  /** Odd: the server is up. Another one with each start. */
  readonly state: number
  /** Had locks when the server ended, by key. Whoever has reclaimed them stays here until the grace period is over. */
  readonly recovering: ReadonlyMap<string, Monitored>
  readonly #directory: string
  readonly #recorded = new Map<string, Monitored>()

  /** Begins a new life. `directory` is made if it is not there; its parent must be there. Throws if the disk fails. */
  constructor(directory: string) {
    this.#directory = join(directory, 'sm')
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    syncDirectory(directory)
    syncDirectory(dirname(directory))
    for (const record of readRecords(this.#directory)) this.#recorded.set(clientKey(record), record)
    this.recovering = new Map(this.#recorded)
    this.state = nextState(join(directory, 'state'))
  }

  /** Throws if the disk fails: then the client must not get a lock. */
  record(client: Monitored): void {
    const key = clientKey(client)
    const { address, name, acceptsCalls } = client
    if (this.#recorded.get(key)?.acceptsCalls === acceptsCalls) return
    writeDurably(this.#path(key), JSON.stringify({ address, name, acceptsCalls }))
    this.#recorded.set(key, { address, name, acceptsCalls })
  }

  forget(key: string): void {
    if (this.#recorded.delete(key)) removeFile(this.#path(key))
  }

  has(key: string): boolean {
    return this.#recorded.has(key)
  }

  #path(key: string): string {
    return join(this.#directory, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`)
  }
}

/** One that cannot be read, such as a draft that was never finished, is none: its client was not answered. */
function readRecords(directory: string): Monitored[] {
  return readdirSync(directory).flatMap((file) => {
    const path = join(directory, file)
    try {
      const { address, name, acceptsCalls } = JSON.parse(readFileSync(path, 'utf8')) as Monitored
      if (!file.endsWith('.json') || typeof address !== 'string' || typeof name !== 'string') throw new Error(path)
      return [{ address, name, acceptsCalls: acceptsCalls === true }]
    } catch {
      removeFile(path)
      return []
    }
  })
}

function nextState(path: string): number {
  let last: number
  try {
    last = Number(readFileSync(path, 'utf8'))
  } catch {
    last = -1
  }
  // A damaged file: whatever number was there, another one is likely to follow.
  if (!Number.isSafeInteger(last) || last < -1) last = Math.floor(Date.now() / 1000)
  const state = last + 2 > STATE_MAX ? 1 : (last + 1) | 1
  writeDurably(path, `${state}\n`)
  return state
}
