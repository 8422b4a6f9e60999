// kill -9 of a file server before each step of work on its volumes: after its next start every volume is whole, on one
// server, and nothing is left of what was interrupted.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test, vi } from 'vitest'
import { parseAddress } from '../../../../src/modes/afs/other-servers.ts'
import { scratch } from '../../store/volume-fixture.ts'
import { Client } from './afs-world.ts'
import { Backup, Create, codeOf, Delete, GetEntryByName, List, Move, noQuota, Release, rootOf } from './cell-world.ts'

const WORKER = fileURLToPath(new URL('cell-worker.mjs', import.meta.url))

class Victim {
  readonly directory = scratch()
  readonly #first: Victim | undefined
  address = '127.0.0.1:0'
  #child: ChildProcess | undefined
  #died: Promise<unknown> = Promise.resolve()

  constructor(first?: Victim) {
    this.#first = first
    victims.push(this)
  }

  async start(killAt = ''): Promise<void> {
    const port = this.address.slice(this.address.lastIndexOf(':') + 1)
    const args = [WORKER, this.directory, port, this.#first?.address ?? '', killAt]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    this.#died = once(child, 'exit')
    const [line] = await once(createInterface(child.stdout), 'line')
    this.address = String(line)
  }

  get isAlive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#died
  }

  async died(): Promise<void> {
    await this.#died
  }

  client(): Client {
    const client = new Client(`c${clients.length}`, parseAddress(this.address).port)
    clients.push(client)
    return client
  }

  volumes(): string[] {
    return readdirSync(`${this.directory}/afs/volumes`)
  }
}

const victims: Victim[] = []
const clients: Client[] = []

afterEach(async () => {
  for (const { rpc } of clients.splice(0)) rpc.close()
  for (const victim of victims.splice(0)) await victim.kill()
})

const MOVES = [
  ...['begin', 'clone', 'dump', 'busy', 'changes', 'commit', 'committed', 'done'].map((step) => [
    'first',
    `move ${step}`,
  ]),
  ...['receive', 'changes', 'commit', 'enter', 'serve'].map((step) => ['second', `receive ${step}`]),
] as const

test.each(MOVES)(
  'a move, the %s server killed at %s',
  async (which, killAt) => {
    const first = new Victim()
    await first.start(which === 'first' ? killAt : '')
    const second = new Victim(first)
    await second.start(which === 'second' ? killAt : '')
    const a = first.client()
    const { id } = await a.call(Create, { name: 'v', ...noQuota })
    const fid = await a.create('f', await rootOf(a, 'v'))
    await a.store(fid, 'content')
    const { status } = await a.status(fid)
    const victim = which === 'first' ? first : second
    const moving = a.call(Move, { name: 'v', to: second.address }).then(
      () => true,
      () => false,
    )
    await victim.died()
    await victim.start()
    await moving
    const b = first.client()
    let server = ''
    // What is doubtful is asked for at the start; until then it is busy.
    await vi.waitFor(
      async () => {
        server = (await b.call(GetEntryByName, { name: 'v' })).rw?.server ?? ''
        const here = server === first.address ? first : second
        await here.client().status(fid)
        const there = here === first ? second : first
        await expect(there.client().status(fid)).rejects.toSatisfy((error) => /VMOVED|VNOVOL/.test(codeOf(error) ?? ''))
        expect(here.volumes()).toEqual([String(id)])
        expect(there.volumes()).toEqual([])
      },
      { timeout: 20_000, interval: 50 },
    )
    const [here, there] = server === first.address ? [first, second] : [second, first]
    const found = await here.client().fetch(fid)
    expect([found.content, found.known.status]).toEqual(['content', status])
    const { status: now } = (await here.client().store(fid, 'more')).file
    await here.client().call(Move, { name: 'v', to: there.address })
    const last = await there.client().fetch(fid)
    expect([last.content, last.known.status]).toEqual(['more', now])
  },
  60_000,
)

const ALONE = [
  'create make',
  'create enter',
  'release clone',
  'release replace',
  'backup clone',
  'backup replace',
  'delete busy',
  'delete enter',
]

test.each(ALONE)(
  'a server killed at %s',
  async (killAt) => {
    const first = new Victim()
    await first.start()
    let a = first.client()
    const { id } = await a.call(Create, { name: 'v', ...noQuota })
    const fid = await a.create('f', await rootOf(a, 'v'))
    await a.store(fid, 'one')
    await a.call(Release, { name: 'v' })
    await a.call(Backup, { name: 'v' })
    await a.store(fid, 'two')
    await first.kill()
    await first.start(killAt)
    a = first.client()
    const [operation] = killAt.split(' ')
    const call = {
      create: () => a.call(Create, { name: 'w', ...noQuota }),
      release: () => a.call(Release, { name: 'v' }),
      backup: () => a.call(Backup, { name: 'v' }),
      delete: () => a.call(Delete, { name: 'v' }),
    }[operation as 'create']
    const called = call().catch(() => {})
    await first.died()
    await first.start()
    await called
    const b = first.client()
    const { volumes } = await b.call(List, { after: 0, limit: 10 })
    expect(volumes.map(({ name }) => name)).toEqual(['root.cell', 'v', 'v.readonly', 'v.backup'])
    expect(volumes.every(({ state }) => state === 'online')).toBe(true)
    expect((await b.fetch(fid)).content).toBe('two')
    // Old, as long as nothing else was answered.
    for (const clone of [id + 1, id + 2]) expect((await b.fetch({ ...fid, volume: clone })).content).toBe('one')
    expect(first.volumes().length).toBe(5)
    if (operation === 'create') await b.call(Create, { name: 'w', ...noQuota })
    await b.call(Release, { name: 'v' })
    expect((await b.fetch({ ...fid, volume: id + 1 })).content).toBe('two')
  },
  60_000,
)
