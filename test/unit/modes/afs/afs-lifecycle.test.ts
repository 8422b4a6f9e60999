// Starting and ending a file server, with whatever is under way.
import { writeFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { AfsServer } from '../../../../src/modes/afs/server.ts'
import { S_IFREG } from '../../../../src/posix/mode.ts'
import { contentOf, openVolume, root, scratch } from '../../store/volume-fixture.ts'
import { ROOT, StoreData, superuser, world } from './afs-world.ts'

test('beyond loopback it needs a token, and whoever has none is refused', async () => {
  const directory = scratch()
  await expect(AfsServer.start({ directory, host: '0.0.0.0' })).rejects.toThrow('needs a token')
  const tokenFile = `${scratch()}/token`
  writeFileSync(tokenFile, 'x'.repeat(40), { mode: 0o600 })
  // The volume was closed: it can be opened again.
  const lab = await world({ directory, tokenFile })
  await expect(lab.client('a').status(ROOT)).rejects.toThrow('UNAUTHORIZED')
  await lab.close()
})

test('a server that is closed in the middle of a store leaves the old file, and nothing beside it', async () => {
  const lab = await world()
  const a = lab.client('a')
  const fid = await a.create('f')
  await a.store(fid, 'old')
  async function* endless() {
    yield Buffer.alloc(1000)
    await new Promise(() => {})
  }
  const args = { who: superuser, fid, length: 2000, durable: false, changes: {} }
  const stored = a.call(StoreData, args, { bytes: endless(), length: 2000 })
  const failed = expect(stored).rejects.toThrow()
  await vi.waitFor(() => expect(lab.server.listener.server.calls).toBe(1))
  await lab.close()
  await failed
  const volume = await openVolume(lab.directory)
  expect(contentOf(volume, fid.vnode)).toBe('old')
  expect(volume.used).toEqual({ inodes: 2, bytes: 3 })
  expect(lab.errors).toEqual([])
})

test('programs beside the server that have a file open see what is stored in it', async () => {
  const lab = await world()
  const { volume } = lab.server
  const ino = volume.create(1, 'f', { mode: S_IFREG | 0o644 }, root)
  const content = volume.openContent(ino, 2, root)
  const a = lab.client('a')
  await a.store({ ...ROOT, vnode: ino, unique: volume.generation(ino) }, 'by afs')
  const into = Buffer.alloc(6)
  volume.read(content, into, 0)
  expect(into.toString()).toBe('by afs')
  volume.write(content, Buffer.from('on'), 0)
  await vi.waitFor(() => expect(a.breaks.flat()).toContain(ino))
  volume.closeContent(content)
  await lab.close()
})
