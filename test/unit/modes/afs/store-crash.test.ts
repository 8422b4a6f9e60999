// kill -9 of the server at any moment of a store: the file is the old one or the new one, whole, and a store that was
// answered is the new one.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { random, seed } from '../../../support/random.ts'
import { contentOf, openVolume, root, scratch } from '../../store/volume-fixture.ts'
import { Client, StoreData, superuser } from './afs-world.ts'

const ROUNDS = 8
const BYTES = 3 * 2 ** 20
const WORKER = fileURLToPath(new URL('store-worker.mjs', import.meta.url))

let child: ChildProcess | undefined
afterEach(() => child?.kill('SIGKILL'))

async function start(directory: string, port: number): Promise<number> {
  child = spawn(process.execPath, [WORKER, directory, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new Error('no output')
  const [line] = await once(createInterface(child.stdout), 'line')
  return Number(line)
}

test(`the file is old or new, whole (seed ${seed()})`, async () => {
  const rng = random(seed())
  const directory = scratch()
  let port = await start(directory, 0)
  const writer = new Client('writer', port)
  const fid = await writer.create('f')
  let version = 0
  await writer.store(fid, Buffer.alloc(BYTES, '0'))
  for (let round = 0; round < ROUNDS; round++) {
    let answered = version
    const next = String((version + 1) % 10)
    const length = BYTES - round
    const content = Buffer.alloc(length, next)
    // Killed while the bytes come, at the end, or after the answer.
    const killAt = Math.floor(rng() * 1.2 * length)
    let sent = 0
    const victim = child
    const died = victim ? once(victim, 'exit') : undefined
    async function* bytes() {
      for (let at = 0; at < length; at += 65_536) {
        if (sent >= killAt) victim?.kill('SIGKILL')
        const piece = content.subarray(at, at + 65_536)
        sent += piece.length
        yield piece
      }
      if (sent < killAt) setTimeout(() => victim?.kill('SIGKILL'), Math.floor(rng() * 5))
    }
    const args = { who: superuser, fid, length, durable: rng() < 0.3, changes: {} }
    await writer.call(StoreData, args, { bytes: bytes(), length }).then(
      () => {
        answered = version + 1
      },
      () => {},
    )
    victim?.kill('SIGKILL')
    await died
    const volume = await openVolume(directory)
    const ino = volume.lookup(volume.root, 'f', root) ?? 0
    const found = contentOf(volume, ino)
    const first = Number(found[0])
    expect(found).toBe(String(first).repeat(found.length))
    const isNew = found.length === length && first === (version + 1) % 10
    if (answered > version) expect(isNew).toBe(true)
    if (isNew) version++
    else expect(first).toBe(version % 10)
    expect(volume.used.bytes).toBe(found.length)
    await volume.close()
    port = await start(directory, port)
  }
  writer.rpc.close()
}, 60_000)
