// Where a client looks for volumes when servers are silent: what was known goes on, what has moved is followed, replicas
// take over, and nobody is asked for ever.
import { expect, test } from 'vitest'
import { CellDatabase } from '../../../../../src/modes/afs/cache-manager/cell-database.ts'
import { type Cell, Cells } from '../../../../../src/modes/afs/cache-manager/cells.ts'
import type { FileServer, FileServers } from '../../../../../src/modes/afs/cache-manager/file-server.ts'
import { AFS } from '../../../../../src/modes/afs/protocol.ts'
import type { VolumeEntry } from '../../../../../src/modes/afs/protocol-volumes.ts'
import { FsError } from '../../../../../src/posix/errors.ts'
import { type Address, addressName } from '../../../../../src/rpc/transport.ts'
import { ServiceError } from '../../../../../src/rpc/ws/index.ts'

const caller = { who: { uid: 0, gid: 0, groups: [] } }
const [VL, ONE, TWO] = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'] as const
const V: VolumeEntry = {
  ...{ name: 'v', rw: { id: 10, server: ONE }, ro: { id: 11, servers: [ONE, TWO] }, backup: null },
  ...{ sites: [ONE, TWO], revision: 0 },
}
const FID = { volume: 10, vnode: 1, unique: 1 }

/** Servers that are silent, or have volumes; `calls` are those that came to them. */
class World {
  readonly silent = new Set<string>()
  readonly has = new Map<string, Set<number>>([
    [ONE, new Set([10, 11])],
    [TWO, new Set([11])],
  ])
  entry: VolumeEntry = V
  readonly calls: string[] = []
  readonly cells: Cells
  #cell: Cell | undefined

  constructor() {
    const servers = new Map<string, FileServer>()
    const at = (address: Address) => {
      const name = addressName(address)
      const server = servers.get(name) ?? this.#server(name)
      servers.set(name, server)
      return server
    }
    this.cells = new Cells({ at } as unknown as FileServers, new CellDatabase({ dns: false }))
  }

  #server(name: string): FileServer {
    const { silent } = this
    const call = async (procedure: { name: string }, args: { volume?: number; fid?: { volume: number } }) => {
      const asked = procedure.name.replace(/^.*\./, '')
      this.calls.push(`${asked} ${name}`)
      if (silent.has(name)) throw new FsError('ETIMEDOUT', `nothing heard of ${name}`)
      if (asked === 'GetCell') return { cell: 'cell', servers: [VL] }
      if (asked.startsWith('GetEntry')) return this.entry
      const id = args.volume ?? args.fid?.volume ?? 0
      if (!this.has.get(name)?.has(id)) throw new ServiceError('VNOVOL', { volume: id })
      return { name: id === 11 ? 'v.readonly' : 'v', root: { volume: id, vnode: 1, unique: 1 } }
    }
    return {
      name,
      call,
      get dead() {
        return silent.has(name)
      },
      requireAlive() {
        if (silent.has(name)) throw new FsError('ETIMEDOUT')
      },
    } as unknown as FileServer
  }

  async volume(name: string, readOnly = false) {
    this.#cell ??= await this.cells.of({ host: '127.0.0.1', port: 1 }, caller)
    return this.cells.volume(this.#cell, name, { readOnly }, caller)
  }

  move(): void {
    this.entry = { ...V, rw: { id: 10, server: TWO } }
    this.has.get(ONE)?.delete(10)
    this.has.get(TWO)?.add(10)
  }

  status(volume: Awaited<ReturnType<World['volume']>>) {
    return this.cells.call(
      volume,
      AFS.procedures.FetchStatus,
      { who: caller.who, fid: { ...FID, volume: volume.id } },
      caller,
    )
  }
}

test('without the location server a known volume is found under all of its names', async () => {
  const world = new World()
  const rw = await world.volume('v')
  world.silent.add(VL)
  expect(await world.volume('v')).toBe(rw)
  // Its replica was never looked for, and is known from the same entry.
  const replica = await world.volume('v', true)
  expect(replica).toMatchObject({ id: 11, type: 'RO' })
  expect(await world.volume('v.readonly')).toBe(replica)
  await expect(world.volume('w')).rejects.toMatchObject({ code: 'ETIMEDOUT' })
})

test('a volume is followed whose server is dead, and whoever changes it is not refused', async () => {
  const world = new World()
  const v = await world.volume('v')
  world.move()
  world.silent.add(ONE)
  await world.cells.requireServer(v, caller)
  expect(v.server.name).toBe(TWO)
  const other = new World()
  const again = await other.volume('v')
  other.move()
  other.silent.add(ONE)
  await other.status(again)
  expect(again.server.name).toBe(TWO)
})

test('what is dead and nowhere else is ETIMEDOUT after one question', async () => {
  const world = new World()
  const v = await world.volume('v')
  world.silent.add(ONE)
  world.calls.length = 0
  await expect(world.status(v)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  await expect(world.cells.requireServer(v, caller)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  expect(world.calls).toEqual([`FetchStatus ${ONE}`, `GetEntryById ${VL}`, `GetEntryById ${VL}`])
})

test('the other replica takes over, also when the location server is gone with the first; with none left it ends', async () => {
  const world = new World()
  const replica = await world.volume('v', true)
  expect(replica.server.name).toBe(ONE)
  for (const name of [ONE, VL]) world.silent.add(name)
  await world.status(replica)
  expect(replica.server.name).toBe(TWO)
  world.silent.add(TWO)
  world.calls.length = 0
  await expect(world.status(replica)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  expect(world.calls.length).toBeLessThan(20)
})

test('who is told of a move hears of it once, before anything is asked of the new server', async () => {
  const world = new World()
  const v = await world.volume('v')
  const heard: string[] = []
  world.cells.onMoved = ({ server }) => heard.push(`${server.name} ${world.calls.length}`)
  world.move()
  world.calls.length = 0
  await Promise.all([world.status(v), world.status(v)])
  expect(heard).toEqual([`${TWO} ${world.calls.length - 2}`])
})
