import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import { udpChannel } from '../../../src/rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../../src/rpc/onc/client.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { listenUdp, type UdpOptions } from '../../../src/rpc/onc/udp-server.ts'
import { openUdp } from '../../../src/rpc/transport.ts'
import { LOOKUP, READ, REMOVE, Shelf, WAIT, WRITE } from './shelf.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function setup(options: UdpOptions = {}, clientOptions: OncClientOptions = {}) {
  const shelf = new Shelf()
  const server = new OncServer([shelf.service])
  const dropped: unknown[] = []
  const listener = await listenUdp(server, { onDropped: (_, error) => dropped.push(error), ...options })
  open.push(() => listener.close())
  const client = new OncClient(udpChannel(listener.address, openUdp(listener.address)), clientOptions)
  open.push(() => client.close())
  return { shelf, server, listener, dropped, client }
}

describe('ONC RPC over UDP', () => {
  it('calls and answers, up to 32 KiB of data', async () => {
    const { client, listener } = await setup()
    expect(listener.address.host).toBe('127.0.0.1')
    expect(await client.call(LOOKUP, { name: 'notes' })).toEqual({ status: 'OK', object: Buffer.from('notes') })
    expect((await client.call(READ, { count: 32 * 1024 })).data).toHaveLength(32 * 1024)
    expect(await client.call(WRITE, { data: Buffer.alloc(32 * 1024) })).toEqual({ count: 32 * 1024 })
  })

  it('has an error for what fits into no datagram', async () => {
    const { client } = await setup()
    await expect(client.call(READ, { count: 70_000 })).rejects.toMatchObject({ reason: 'SYSTEM_ERR' })
    await expect(client.call(WRITE, { data: Buffer.alloc(70_000) })).rejects.toMatchObject({ reason: 'BAD_ARGS' })
  })

  it('forgets what is no call, and lives', async () => {
    const { client, listener, dropped } = await setup()
    const socket = createSocket('udp4')
    open.push(() => socket.close())
    socket.send('nonsense', listener.address.port, '127.0.0.1')
    while (dropped.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    expect((await client.call(LOOKUP, { name: 'notes' })).status).toBe('OK')
  })

  it('drops calls beyond the limit, which the client repeats', async () => {
    const { client, shelf, dropped } = await setup({ limits: { calls: 1 } }, { timeoMs: 10, maxTimeoMs: 20 })
    const first = client.call(WAIT, { id: 1 })
    while (shelf.waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    const second = client.call(LOOKUP, { name: 'notes' })
    while (dropped.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    shelf.release(1)
    expect(await first).toEqual({ id: 1 })
    expect((await second).status).toBe('OK')
  })

  it('executes a repeated call once, even while it is in progress', async () => {
    const { client, shelf, server } = await setup({}, { timeoMs: 5, maxTimeoMs: 10 })
    shelf.slow = true
    const removing = client.call(REMOVE, { name: 'notes' })
    while (server.statistics.of('SHELF.REMOVE').retransmissions < 3)
      await new Promise((resolve) => setTimeout(resolve, 1))
    shelf.release(0)
    expect(await removing).toEqual({ status: 'OK' })
    expect(shelf.removals).toBe(1)
  })
})
