// The promise, on a simulated network that delays, reorders and loses messages and cuts clients off: once a change is
// answered, nobody holds an older version under a promise that has not run out, but for clients that the server knows it
// did not reach; and those hold none any more as soon as they are answered anything.
import { expect, test } from 'vitest'
import { Callbacks } from '../../../../src/modes/afs/callbacks.ts'
import { AfsLocks } from '../../../../src/modes/afs/locks.ts'
import { AFSCB, type Arguments, type Result } from '../../../../src/modes/afs/protocol.ts'
import type { Fid, Known } from '../../../../src/modes/afs/records.ts'
import { afsService } from '../../../../src/modes/afs/services.ts'
import { fetchChunks } from '../../../../src/modes/afs/transfers.ts'
import { ROOT_CELL, VolumeRegistry } from '../../../../src/modes/afs/volume-registry.ts'
import type { WsPeer } from '../../../../src/rpc/ws/index.ts'
import type { AnyProcedure } from '../../../../src/rpc/ws/program.ts'
import { random, seed } from '../../../support/random.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'
import { file, openVolume, root } from '../../store/volume-fixture.ts'
import { FetchStatus, StoreStatus, superuser as who } from './afs-world.ts'

const CLIENTS = 4
const FILES = 3
const STEPS = 1200
const LATENCY_MS = 20
const TIMEOUT_MS = 100
const LIFE_MS = 2000
/** After so long a call whose answer got lost is over, whatever became of it. */
const FORGOTTEN_MS = 1000

interface Cached {
  readonly change: number
  readonly until: number
}

class Model {
  readonly clock = new TestClock()
  readonly rng: () => number
  readonly clients = new Map<string, SimulatedClient>()
  /** Of each file, the version that was answered last, as the counter of changes. */
  readonly answered = new Map<number, number>()
  checked = 0
  fids: Fid[] = []
  readonly failures: unknown[] = []

  guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.failures.push(error)
    }
  }

  constructor(from: number) {
    this.rng = random(from)
  }

  /** A message: lost if its client is cut off when it is sent or when it would arrive. */
  carry(client: SimulatedClient, arrive: () => void): void {
    if (!client.up) return
    this.clock.after(this.rng() * LATENCY_MS, () => {
      if (client.up) arrive()
    })
  }
}

class SimulatedClient {
  readonly peer: WsPeer
  up = true
  readonly cache = new Map<number, Cached>()
  /** How often it was told of a file, and of all. */
  readonly #broken = new Map<number, number>()
  #discarded = 0
  /** Changes that it has not been answered. */
  readonly #underway = new Map<number, number>()
  readonly #model: Model
  readonly id: string

  constructor(id: string, model: Model) {
    this.id = id
    this.#model = model
    const call = (procedure: AnyProcedure, args: unknown) =>
      new Promise<void>((resolve, reject) => {
        const stop = model.clock.after(TIMEOUT_MS, () => reject(new Error('no answer')))
        model.carry(this, () => {
          this.told(procedure, args as { fids: Fid[] })
          model.carry(this, () => {
            stop()
            resolve()
          })
        })
      })
    this.peer = {
      id,
      name: id,
      connected: true,
      signal: new AbortController().signal,
      call,
      tell: () => true,
    } as WsPeer
  }

  told(procedure: AnyProcedure, args: { fids: Fid[] }): void {
    if (procedure === AFSCB.procedures.InitCallBackState) {
      this.#discarded++
      this.cache.clear()
      return
    }
    for (const { vnode } of args.fids) {
      this.#broken.set(vnode, this.times(vnode) + 1)
      this.cache.delete(vnode)
    }
  }

  times(vnode: number): number {
    return this.#broken.get(vnode) ?? 0
  }

  /** Fetches, and keeps what the answer promises, unless it was told of it since the call was made, or changes it itself. */
  ask(vnode: number, serve: () => Promise<Known>): void {
    this.#call(
      vnode,
      serve,
      () => {},
      () => this.#changing(vnode) === 0,
    )
  }

  /** Changes: until the answer is there, nobody knows what the file is, and what was asked for meanwhile is not kept. */
  change(vnode: number, serve: () => Promise<Known>, answered: (known: Known) => void): void {
    this.cache.delete(vnode)
    this.#underway.set(vnode, this.#changing(vnode) + 1)
    let over = false
    const end = () => {
      if (!over) {
        over = true
        this.#underway.set(vnode, this.#changing(vnode) - 1)
        this.#broken.set(vnode, this.times(vnode) + 1)
      }
      return this.#changing(vnode) === 0
    }
    this.#model.clock.after(FORGOTTEN_MS, end)
    this.#broken.set(vnode, this.times(vnode) + 1)
    this.#call(vnode, serve, answered, end)
  }

  #changing(vnode: number): number {
    return this.#underway.get(vnode) ?? 0
  }

  #call(vnode: number, serve: () => Promise<Known>, answered: (known: Known) => void, mayKeep: () => boolean): void {
    const { clock } = this.#model
    const made = { at: clock.now(), times: this.times(vnode), discarded: this.#discarded }
    const before = new Map(this.#model.answered)
    const arrived = ({ callback, status }: Known) => {
      const untold = this.times(vnode) === made.times && this.#discarded === made.discarded
      if (mayKeep() && untold && callback !== null) {
        this.cache.set(vnode, { change: status.change, until: made.at + callback.expiresInMs })
      }
      this.#model.guard(() => this.requireFresh(before, `${this.id} was answered`))
    }
    this.#model.carry(this, () => {
      serve().then(
        (known) => {
          answered(known)
          this.#model.carry(this, () => arrived(known))
        },
        () => {},
      )
    })
  }

  requireFresh(answered: ReadonlyMap<number, number>, when: string): void {
    for (const [vnode, { change, until }] of this.cache) {
      if (until <= this.#model.clock.now()) continue
      this.#model.checked++
      const least = answered.get(vnode) ?? 0
      if (change < least) throw new Error(`${this.id} believes in ${change} of ${vnode}, not ${least}: ${when}`)
    }
  }
}

test.each(Array.from({ length: 12 }, (_, i) => seed() + i))('seed %i', async (from) => {
  const model = new Model(from)
  const { clock, rng, clients } = model
  const volume = await openVolume(undefined, { clock })
  const registry = new VolumeRegistry()
  registry.add({ ...ROOT_CELL, volume })
  const life = (holders: number) => LIFE_MS / holders
  const callbacks = new Callbacks({ registry, client: (id) => clients.get(id)?.peer, timeoutMs: TIMEOUT_MS, life })
  for (const served of registry) callbacks.serve(served)
  const now = () => clock.now()
  const { procedures } = afsService({ registry, callbacks, now, chunks: fetchChunks() }, new AfsLocks(registry, clock))
  const call = <R>(client: SimulatedClient, { number }: AnyProcedure, args: unknown): Promise<R> =>
    Promise.resolve(procedures.get(number)?.handler(args, { peer: client.peer } as never) as R)
  model.fids = Array.from({ length: FILES }, (_, i) => {
    const vnode = file(volume, 1, `f${i}`)
    return { volume: ROOT_CELL.id, vnode, unique: volume.generation(vnode) }
  })
  for (let i = 0; i < CLIENTS; i++) {
    const client = new SimulatedClient(`c${i}`, model)
    clients.set(client.id, client)
    callbacks.connected(client.peer, false)
  }
  const store = (client: SimulatedClient, fid: Fid) => {
    const length = Math.floor(rng() * 100)
    const args: Arguments<'StoreStatus'> = { who, fid, changes: {}, length }
    const serve = async () => (await call<Result<'StoreStatus'>>(client, StoreStatus, args)).file
    client.change(fid.vnode, serve, ({ status }) => {
      model.answered.set(fid.vnode, Math.max(model.answered.get(fid.vnode) ?? 0, status.change))
      const missed = new Set(volume.grants.table.undeliveredRecalls().map(({ client }) => client))
      const least = new Map([[fid.vnode, status.change]])
      for (const other of clients.values()) {
        if (other === client || missed.has(`afs:${other.id}`)) continue
        model.guard(() => other.requireFresh(least, `${client.id} was answered its change`))
      }
    })
  }
  for (let step = 0; step < STEPS && model.failures.length === 0; step++) {
    const client = [...clients.values()][Math.floor(rng() * CLIENTS)] as SimulatedClient
    const fid = model.fids[Math.floor(rng() * FILES)] as Fid
    const what = rng()
    if (what < 0.55) client.ask(fid.vnode, () => call(client, FetchStatus, { who, fid }))
    else if (what < 0.85) store(client, fid)
    else if (what < 0.9) volume.setAttributes(fid.vnode, { mode: 0o600 + Math.floor(rng() * 64) }, root)
    else if (client.up) client.up = rng() > 0.5
    else {
      client.up = true
      callbacks.connected(client.peer, true)
    }
    clock.advance(rng() * 15)
    await settle()
  }
  expect(model.failures).toEqual([])
  expect(model.checked).toBeGreaterThan(100)
  callbacks.close()
})
