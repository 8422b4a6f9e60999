// The promise, on a simulated network that delays, reorders and loses messages and cuts clients off: once a change is
// answered, nobody holds an older version under a promise that has not run out, but for clients that the server knows it
// did not reach; and those hold none any more as soon as they are answered anything. What a client may believe is judged by
// what the test brings.
import { Callbacks } from '../../../../src/modes/afs/callbacks.ts'
import { AfsLocks } from '../../../../src/modes/afs/locks.ts'
import { AFSCB, type Arguments, type Result } from '../../../../src/modes/afs/protocol.ts'
import type { Fid, Known } from '../../../../src/modes/afs/records.ts'
import { afsService } from '../../../../src/modes/afs/services.ts'
import { fetchChunks } from '../../../../src/modes/afs/transfers.ts'
import { ROOT_CELL, VolumeRegistry } from '../../../../src/modes/afs/volume-registry.ts'
import type { WsPeer } from '../../../../src/rpc/ws/index.ts'
import type { AnyProcedure } from '../../../../src/rpc/ws/program.ts'
import { random } from '../../../support/random.ts'
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

/** What a client may believe, of files by their vnodes. `Call`: when a call was made. */
export interface Judgement<Call = unknown> {
  broken(vnode: number): void
  /** Nothing stands any more. */
  discarded(): void
  /** A call is made about a file. */
  asked(vnode: number): Call
  /** It was answered, or given up: then there is nothing known. */
  answered(vnode: number, call: Call, known: Known | undefined): void
  /** The same of a change. */
  changes(vnode: number): Call
  changed(vnode: number, call: Call, known: Known | undefined): void
  /** The counter of changes of each file that is believed. */
  believed(): Iterable<readonly [vnode: number, change: number]>
  /** Something may be dropped to make room: files that are not believed then need not be. */
  dropSome?(pick: () => number): void
}

interface Model {
  readonly clock: TestClock
  readonly rng: () => number
  /** Of each file, the version that was answered last, as the counter of changes. */
  readonly answered: Map<number, number>
  readonly failures: unknown[]
  checked: number
  /** A message: lost if its client is cut off when it is sent or when it would arrive. */
  carry(client: SimulatedClient, arrive: () => void): void
}

class SimulatedClient {
  readonly id: string
  readonly peer: WsPeer
  readonly judgement: Judgement
  readonly #model: Model
  up = true

  constructor(id: string, model: Model, judgement: Judgement) {
    this.id = id
    this.#model = model
    this.judgement = judgement
    const call = (procedure: AnyProcedure, args: unknown) =>
      new Promise<void>((resolve, reject) => {
        const stop = model.clock.after(TIMEOUT_MS, () => reject(new Error('no answer')))
        model.carry(this, () => {
          if (procedure === AFSCB.procedures.InitCallBackState) judgement.discarded()
          else for (const { vnode } of (args as { fids: Fid[] }).fids) judgement.broken(vnode)
          model.carry(this, () => {
            stop()
            resolve()
          })
        })
      })
    const signal = new AbortController().signal
    this.peer = { id, name: id, connected: true, signal, call, tell: () => true } as WsPeer
  }

  ask(vnode: number, serve: () => Promise<Known>): void {
    const made = this.judgement.asked(vnode)
    this.#call(serve, undefined, (known) => this.judgement.answered(vnode, made, known))
  }

  /** `answers`: the server answers it. */
  change(vnode: number, serve: () => Promise<Known>, answers: (known: Known) => void): void {
    const made = this.judgement.changes(vnode)
    this.#call(serve, answers, (known) => this.judgement.changed(vnode, made, known))
  }

  #call(
    serve: () => Promise<Known>,
    answers: ((known: Known) => void) | undefined,
    arrives: (known: Known | undefined) => void,
  ): void {
    const { clock, answered } = this.#model
    const before = new Map(answered)
    let over = false
    const end = (known?: Known) => {
      if (over) return
      over = true
      arrives(known)
      if (known !== undefined) this.requireFresh(before, `${this.id} was answered`)
    }
    clock.after(FORGOTTEN_MS, end)
    this.#model.carry(this, () => {
      serve().then(
        (known) => {
          answers?.(known)
          this.#model.carry(this, () => end(known))
        },
        () => {},
      )
    })
  }

  requireFresh(answered: ReadonlyMap<number, number>, when: string): void {
    for (const [vnode, change] of this.judgement.believed()) {
      this.#model.checked++
      const least = answered.get(vnode) ?? 0
      if (change >= least) continue
      this.#model.failures.push(`${this.id} believes in ${change} of ${vnode}, not ${least}: ${when}`)
    }
  }
}

/** Runs it to its end, or the first failure: what was wrong, and how often somebody believed something. */
export async function simulate(
  from: number,
  judge: (clock: TestClock) => Judgement,
): Promise<{ failures: readonly unknown[]; checked: number }> {
  const clock = new TestClock()
  const rng = random(from)
  const model: Model = {
    ...{ clock, rng, answered: new Map(), failures: [], checked: 0 },
    carry(client, arrive) {
      if (!client.up) return
      clock.after(rng() * LATENCY_MS, () => {
        if (client.up) arrive()
      })
    },
  }
  const clients = new Map<string, SimulatedClient>()
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
  const fids = Array.from({ length: FILES }, (_, i) => {
    const vnode = file(volume, 1, `f${i}`)
    return { volume: ROOT_CELL.id, vnode, unique: volume.generation(vnode) }
  })
  for (let i = 0; i < CLIENTS; i++) {
    const client = new SimulatedClient(`c${i}`, model, judge(clock))
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
        other.requireFresh(least, `${client.id} was answered its change`)
      }
    })
  }
  for (let step = 0; step < STEPS && model.failures.length === 0; step++) {
    const client = [...clients.values()][Math.floor(rng() * CLIENTS)] as SimulatedClient
    const fid = fids[Math.floor(rng() * FILES)] as Fid
    const what = rng()
    if (what < 0.55) client.ask(fid.vnode, () => call(client, FetchStatus, { who, fid }))
    else if (what < 0.83) store(client, fid)
    else if (what < 0.85) client.judgement.dropSome?.(rng)
    else if (what < 0.9) volume.setAttributes(fid.vnode, { mode: 0o600 + Math.floor(rng() * 64) }, root)
    else if (client.up) client.up = rng() > 0.5
    else {
      client.up = true
      callbacks.connected(client.peer, true)
    }
    clock.advance(rng() * 15)
    await settle()
  }
  callbacks.close()
  return model
}
