// What libnfs sends, recorded (test/support/record-libnfs.mjs), and then changed in all ways that make it wrong.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../../src/codec/errors.ts'
import { encode, u32, XdrReader } from '../../../../src/codec/xdr.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import { NFS3 } from '../../../../src/modes/nfs/nfs3.ts'
import { CallBody, CallStart, ReplyBody, ReplyStart } from '../../../../src/rpc/onc/message.ts'
import { listenTcp } from '../../../../src/rpc/onc/tcp-server.ts'
import { random, seed } from '../../../support/random.ts'
import { callBytes, World } from './nfs-world.ts'
import { spoil } from './spoil.ts'

const ROUNDS = 20_000
const fixture = JSON.parse(readFileSync(new URL('libnfs-calls.json', import.meta.url), 'utf8')) as {
  readonly handles: Readonly<Record<string, string>>
  readonly calls: readonly string[]
}

/** A server, and the recorded calls with its own handles. */
async function open() {
  const world = await World.open()
  const top = await world.mount()
  await world.write(await world.file(top, 'notes', {}, 0o666), 'What was there.\n')
  let text = fixture.calls.join('\n')
  for (const [handle, name] of Object.entries(fixture.handles)) {
    const ours = name === '' ? top : await world.find(top, name)
    text = text.replaceAll(handle, ours.toString('hex'))
  }
  return { world, calls: text.split('\n').map((call) => Buffer.from(call, 'hex')) }
}

/** Names and attributes of everything, but for the time of the last access. */
function stateOf({ volume }: World): string {
  const nodes = [...volume.list(volume.root, 0)].map(({ name, ino }) => {
    const { atime: _, ...attributes } = volume.attributes(ino)
    return [name, attributes]
  })
  return JSON.stringify(nodes)
}

/** Asks; `ok` if it is answered with success, else how it is refused. A server that fails, fails the test. */
async function ask(world: World, call: Buffer): Promise<string> {
  let bytes: Buffer | undefined
  try {
    bytes = await world.raw(call)
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
    return 'no call'
  }
  if (bytes === undefined) return 'no answer'
  const reply = new XdrReader(bytes)
  const { xid, type } = ReplyStart.read(reply)
  expect([xid, type]).toEqual([call.readUInt32BE(), 1])
  const body = ReplyBody.read(reply)
  if (body.state === 'MSG_DENIED') return body.reason.status
  const { status } = body.outcome
  expect(status).not.toBe('SYSTEM_ERR')
  if (status !== 'SUCCESS') return status
  // DUMP and EXPORT of MOUNT are answered with a list, everything else with a status first.
  const list = call.readUInt32BE(12) === MOUNT3.number && [2, 5].includes(call.readUInt32BE(20))
  return reply.remaining >= 4 && !list && reply.u32() !== 0 ? 'refused' : 'ok'
}

describe(`what libnfs sends (seed ${seed()})`, () => {
  it('is answered as it is', async () => {
    const { world, calls } = await open()
    const outcomes = []
    for (const call of calls) outcomes.push(await ask(world, call))
    // It made the file, which is there.
    expect(outcomes.filter((outcome) => outcome !== 'ok')).toEqual(['refused'])
  })

  it('is never executed when it ends too early or too late', async () => {
    const { world, calls } = await open()
    const before = stateOf(world)
    for (const call of calls) {
      for (let length = 0; length < call.length; length++)
        expect(['no call', 'GARBAGE_ARGS', 'AUTH_ERROR']).toContain(await ask(world, call.subarray(0, length)))
      expect(await ask(world, Buffer.concat([call, Buffer.alloc(4)]))).toBe('GARBAGE_ARGS')
    }
    expect(stateOf(world)).toBe(before)
  })

  it('is never executed with a handle that has one other bit', async () => {
    const { world, calls } = await open()
    const before = stateOf(world)
    const top = await world.mount()
    for (const call of calls) {
      for (const handle of [top, await world.find(top, 'notes')]) {
        const at = call.indexOf(handle)
        if (at < 0) continue
        for (let bit = 0; bit < handle.length * 8; bit++) {
          const forged = Buffer.from(call)
          forged[at + (bit >> 3)] = (forged[at + (bit >> 3)] ?? 0) ^ (1 << (bit & 7))
          expect(await ask(world, forged)).toBe('refused')
        }
      }
    }
    expect(stateOf(world)).toBe(before)
  })

  it('spoilt in all ways, kills nothing and changes nothing unless it is right', async () => {
    const { world, calls } = await open()
    const next = random(seed())
    const outcomes: Record<string, number> = {}
    let state = stateOf(world)
    const held = () => process.memoryUsage().heapTotal + process.memoryUsage().external
    const memory = held()
    for (let round = 0; round < ROUNDS; round++) {
      const call = spoil(calls, next)
      const outcome = await ask(world, call)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      const now = stateOf(world)
      if (outcome === 'ok') state = now
      else expect(now, `round ${round}: ${call.toString('hex')}`).toBe(state)
    }
    expect(Object.keys(outcomes).toSorted()).toEqual(
      expect.arrayContaining(['AUTH_ERROR', 'GARBAGE_ARGS', 'PROC_UNAVAIL', 'no call', 'ok', 'refused']),
    )
    // Nothing of what was sent is kept but what the caches may hold: 8 MiB of replies, 64 Ki handles.
    expect(held() - memory).toBeLessThan(256 * 2 ** 20)
    expect(world.errors).toEqual([])
  })

  it('spoilt on the way, costs a connection at most', async () => {
    const { world, calls } = await open()
    const listener = await listenTcp(world.server)
    const next = random(seed() + 1)
    const nothing = callBytes({ program: 100003, version: 3, procedure: 0 })
    const record = (call: Buffer) => Buffer.concat([encode(u32, 0x8000_0000 + call.length), call])
    /** Sends, hears everything, and resolves with it when the server has closed, or all was answered that it takes. */
    const talk = (bytes: Buffer) =>
      new Promise<Buffer>((resolve) => {
        const heard: Buffer[] = []
        const socket = connect({ ...listener.address }, () => socket.end(bytes))
        socket.on('data', (chunk: Buffer) => heard.push(chunk))
        socket.on('error', () => {})
        socket.on('close', () => resolve(Buffer.concat(heard)))
      })
    try {
      for (let round = 0; round < 300; round++) {
        const good = Array.from({ length: 4 }, () => record(calls[Math.floor(next() * calls.length)] ?? nothing))
        const stream = Buffer.concat([...good, record(spoil(calls, next)), ...good])
        // Some bytes anywhere, lengths of records included.
        for (let left = Math.floor(next() * 4); left > 0; left--)
          stream[Math.floor(next() * stream.length)] = Math.floor(next() * 256)
        await talk(stream)
        const reply = await talk(record(nothing))
        expect(reply.length, `round ${round}`).toBe(4 + 24)
      }
      // What is still being executed ends, and then nothing is held for anybody.
      while (listener.connections > 0 || listener.heldBytes > 0) await new Promise((resolve) => setTimeout(resolve, 2))
    } finally {
      await listener.close()
    }
  })
})

it('the fixture is of calls that a server is asked', () => {
  const procedures = fixture.calls.map((hex) => {
    const reader = new XdrReader(Buffer.from(hex, 'hex'))
    expect(CallStart.read(reader).type).toBe(0)
    return CallBody.read(reader)
  })
  const asked = new Set(procedures.filter(({ program }) => program === NFS3.number).map(({ procedure }) => procedure))
  for (const name of ['CREATE', 'WRITE', 'COMMIT', 'LOOKUP', 'READ', 'READDIRPLUS', 'ACCESS', 'SETATTR'] as const)
    expect(asked).toContain(NFS3.procedures[name].number)
})
