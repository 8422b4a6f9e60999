// One server process with several protocols on one volume: what clients of one do, those of the other hear of or see.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { portOf } from '../../src/lab/lab-plan.ts'
import type { Fid } from '../../src/modes/afs/records.ts'
import { endProcess } from '../../src/serving/processes.ts'
import { type ServingProcess, startServing } from '../../src/serving/serving.ts'
import { killNow } from '../support/processes.ts'
import { run, start } from '../support/run.ts'
import { scratch } from '../support/targets.ts'
import { Client, Lookup, ROOT, SetLock, superuser } from '../unit/modes/afs/afs-world.ts'

const program = fileURLToPath(new URL('../../dist/cli/daemon.js', import.meta.url))
const script = (name: string) => fileURLToPath(new URL(`../support/${name}.py`, import.meta.url))

let folder: string
let server: ServingProcess
let ports: { nfs: number; afs: number }
let client: Client

async function serve(order: readonly ('nfs' | 'afs')[] = ['nfs', 'afs']): Promise<void> {
  const protocols = order.map((mode) => ({ mode, port: ports[mode] }))
  const spec = { role: 'server', protocols, data: join(folder, 'data'), host: '127.0.0.1' } as const
  server = startServing(spec, { program, log: join(folder, 'log') })
  const { urls, mounts } = await server.ready
  expect(Object.keys(urls)).toEqual(order)
  expect(mounts).toEqual([])
  ports = { nfs: portOf(urls.nfs ?? ''), afs: portOf(urls.afs ?? '') }
}

beforeEach(async () => {
  folder = scratch('shared-volume')
  mkdirSync(join(folder, 'data'), { recursive: true })
  ports = { nfs: 0, afs: 0 }
  await serve()
  client = new Client('c', ports.afs)
})
afterEach(async () => {
  client.rpc.close()
  killNow(server.id.pid)
  await server.exited
})

const nfsUrl = (path: string) => `nfs://127.0.0.1/export${path}?nfsport=${ports.nfs}&mountport=${ports.nfs}`
const overNfs = (path: string, text: string) => run('python3', [script('libnfs'), 'overwrite', nfsUrl(path), text])
const readOverNfs = (path: string) => run('nfs-cat', [nfsUrl(path)])

/** Fetched with the promise to be told. */
async function fetched(name: string): Promise<{ fid: Fid; content: string }> {
  const { found } = await client.call(Lookup, { who: superuser, parent: ROOT, name })
  if (found === null) throw new Error(`no ${name}`)
  const { known, content } = await client.fetch(found.fid)
  expect(known.callback).not.toBeNull()
  return { fid: found.fid, content }
}

test('a file written over NFS breaks the promise of an AFS client, who then fetches what was written', async () => {
  const local = join(folder, 'local')
  writeFileSync(local, 'made over nfs')
  await run('nfs-cp', [local, nfsUrl('/f')])
  const { fid, content } = await fetched('f')
  expect(content).toBe('made over nfs')
  const before = client.breaks.length
  await overNfs('/f', 'written over nfs')
  await vi.waitFor(() => expect(client.breaks.slice(before).flat()).toContain(fid.vnode))
  expect((await client.fetch(fid)).content).toBe('written over nfs')
})

test('names that come and go over NFS break the promise on their directory', async () => {
  expect((await client.status(ROOT)).callback).not.toBeNull()
  await run('python3', [script('libnfs'), 'fill', nfsUrl('/d'), '1'])
  await vi.waitFor(() => expect(client.breaks.flat()).toContain(ROOT.vnode))
})

test('what an AFS client stores is what NFS reads', async () => {
  const fid = await client.create('f')
  await client.store(fid, 'stored by afs\n')
  expect(await readOverNfs('/f')).toBe('stored by afs\n')
  await client.store(fid, 'and again\n')
  expect(await readOverNfs('/f')).toBe('and again\n')
})

test('a lock of the one excludes the other', async () => {
  const lock = ['python3', script('libnfs-locks'), nfsUrl('/any'), String(ports.nfs), 'lock,a,1,0,0'] as const
  await client.call(SetLock, { fid: ROOT, owner: 'me', exclusive: true })
  expect((await run(lock[0], lock.slice(1))).trim()).toBe('NLM4_DENIED')
})

test('it ends in peace and comes back on its ports, whichever mode has opened the volume', async () => {
  await client.store(await client.create('f'), 'kept')
  client.rpc.close()
  for (const order of [
    ['afs', 'nfs'],
    ['nfs', 'afs'],
  ] as const) {
    const before = ports
    expect(await endProcess(server.id, 15_000)).toBe('closed')
    expect(await server.exited).toEqual({ code: 0, signal: null })
    await serve(order)
    expect(ports).toEqual(before)
    expect(await readOverNfs('/f')).toBe('kept')
  }
})

test('a second mode that cannot start: none is left', async () => {
  expect(await endProcess(server.id, 15_000)).toBe('closed')
  ports = { nfs: ports.nfs, afs: ports.nfs }
  const failed = serve()
  await expect(failed).rejects.toThrow(/EADDRINUSE/)
  expect(await server.exited).toEqual({ code: 1, signal: null })
  await expect(start('nfs-cat', [nfsUrl('/f')]).finished).resolves.not.toMatchObject({ code: 0 })
})
