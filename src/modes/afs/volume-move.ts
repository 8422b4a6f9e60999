// An RW volume goes to another file server while clients use it. A clone is sent first; then the volume is busy for as long
// as what has changed since takes. The other server enters itself into the volume's entry: that decides. If this server does
// not hear whether it did, it changes the entry itself, so that the other one cannot any more, and reads who has it.
import fs from 'node:fs'
import { FsError } from '../../posix/errors.ts'
import type { WsClient } from '../../rpc/ws/index.ts'
import type { Volume } from '../../store/volume.ts'
import { ANSWER_MS } from './other-servers.ts'
import { VOLSER, type VolserArguments, type VolumeEntry } from './protocol-volumes.ts'
import type { Work } from './transactions.ts'
import { dropClone } from './volume-admin.ts'
import type { ListedVolume } from './volume-list.ts'
import { changeEntry } from './volume-location.ts'
import { failureOf, isHere, requireMovable, requireRw, type VolumeParts } from './volume-parts.ts'
import type { ServedVolume } from './volume-registry.ts'

const { BeginArrival, Receive, CommitArrival, AbortArrival } = VOLSER.procedures
/** The other server opens the volume and asks the volume location server. */
const COMMIT_MS = 2 * ANSWER_MS

export async function move(
  parts: VolumeParts,
  { name, to }: VolserArguments<'Move'>,
  signal: AbortSignal,
): Promise<void> {
  const served = await requireRw(parts, name)
  requireMovable(served)
  if (to === parts.address) throw new FsError('EINVAL', `${name} is on ${to} already`)
  const { hosted, others, transactions } = parts
  const listed = hosted.list.get(served.id)
  if (listed === undefined) throw new FsError('EINVAL', `${name} is not on the list`)
  const options = { operation: 'move', volume: name, server: to, signal } as const
  await transactions.run(options, served.id, async (work) => {
    await others.use(to, async (server) => {
      try {
        await new Moving(parts, { served, listed, to, server, work }).run()
      } catch (error) {
        throw failureOf(error, work, to)
      }
    })
  })
}

interface Going {
  readonly served: ServedVolume
  readonly listed: ListedVolume
  readonly to: string
  readonly server: WsClient
  readonly work: Work
}

class Moving {
  readonly #parts: VolumeParts
  readonly #going: Going
  /** Clones on the way: paths, and those that are open. */
  readonly #paths: string[] = []
  readonly #clones: Volume[] = []
  #arrival = ''

  constructor(parts: VolumeParts, going: Going) {
    this.#parts = parts
    this.#going = going
  }

  async run(): Promise<void> {
    const { served, server, work } = this.#going
    const { id, name } = served
    const { registry } = this.#parts.hosted
    await work.step('begin')
    const begun = await server.call(BeginArrival, { id, name }, { timeoutMs: ANSWER_MS, signal: work.signal })
    this.#arrival = begun.arrival
    try {
      const whole = await this.#send('dump', undefined)
      await work.step('busy')
      registry.setBusy(id, true)
      await this.#parts.callbacks.breakAll(served)
      await this.#send('changes', whole)
      await this.#commit()
    } catch (error) {
      if (registry.find(id) === served && !this.#going.listed.doubtful) await this.#stay()
      throw error
    } finally {
      for (const clone of this.#clones) await clone.close()
      for (const path of this.#paths) await fs.promises.rm(path, { recursive: true, force: true })
    }
  }

  /** Clones the volume, and sends the clone, or what has changed since an earlier one. */
  async #send(step: string, since: Volume | undefined): Promise<Volume> {
    const { served, server, work } = this.#going
    const { hosted } = this.#parts
    await work.step('clone')
    const path = hosted.newPath(served.id)
    this.#paths.push(path)
    await served.volume.clone(path)
    const clone = await hosted.openVolume(path, true)
    this.#clones.push(clone)
    await work.step(step)
    const bytes = work.counted(clone.dump(since === undefined ? {} : { since }))
    await server.call(Receive, { arrival: this.#arrival }, { bytes, signal: work.signal })
    return clone
  }

  async #commit(): Promise<void> {
    const { served, listed, to, server, work } = this.#going
    const { hosted, location } = this.#parts
    const { id } = served
    const { revision } = await location.byId(id)
    await work.step('commit')
    work.decide()
    hosted.list.put({ ...listed, doubtful: true })
    let failure: unknown
    try {
      await server.call(CommitArrival, { arrival: this.#arrival, revision }, { timeoutMs: COMMIT_MS })
      await work.step('committed')
    } catch (error) {
      failure = error
    }
    const entry = await this.#decided(failure !== undefined)
    if (isHere(entry, this.#parts.address)) throw failure ?? new FsError('EIO', 'the other server did not take it')
    await dropClone(this.#parts, id + 2)
    hosted.withdraw(id, entry.rw?.server ?? to)
    await work.step('done').catch(() => {})
  }

  /**
   * Who has it. After a failure the entry is changed, as long as it names this server: then the other one, whose commit may
   * still be on its way, cannot change it any more. Rejects only when this server ends: the next start asks again.
   */
  async #decided(mayComeLater: boolean): Promise<VolumeEntry> {
    const { location, address } = this.#parts
    return changeEntry(location, this.#going.served.id, (entry) =>
      mayComeLater && isHere(entry, address) ? entry : undefined,
    )
  }

  /** It goes on as if nothing had been. */
  async #stay(): Promise<void> {
    const { served, listed, server } = this.#going
    const { hosted, address } = this.#parts
    if (hosted.list.get(served.id)?.doubtful) {
      if (!isHere(await this.#decided(true), address)) return
      hosted.list.put(listed)
    }
    hosted.registry.setBusy(served.id, false)
    await server.call(AbortArrival, { arrival: this.#arrival }, { timeoutMs: ANSWER_MS }).catch(() => {})
  }
}
