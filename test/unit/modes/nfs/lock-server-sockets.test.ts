// The lock server over real sockets: clients that keep a connection, and clients in the manner of others, who are found
// through the portmapper of their machine.
import fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { CALLBACK } from '../../../../src/modes/nfs/callback-program.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import type { LockServerOptions } from '../../../../src/modes/nfs/nlm-server.ts'
import { NLM4_STATS } from '../../../../src/modes/nfs/nlm-types.ts'
import { NLM4 } from '../../../../src/modes/nfs/nlm4.ts'
import { NSM } from '../../../../src/modes/nfs/nsm.ts'
import { NfsServer } from '../../../../src/modes/nfs/server.ts'
import { tcpChannel, udpChannel } from '../../../../src/rpc/onc/channel.ts'
import { OncClient } from '../../../../src/rpc/onc/client.ts'
import { IP_PROTOCOL, PORTMAP2 } from '../../../../src/rpc/onc/portmap.ts'
import { OncServer } from '../../../../src/rpc/onc/server.ts'
import { NO_REPLY, type Service, service } from '../../../../src/rpc/onc/service.ts'
import { listenTcp } from '../../../../src/rpc/onc/tcp-server.ts'
import { listenUdp } from '../../../../src/rpc/onc/udp-server.ts'
import { openTcp, openUdp } from '../../../../src/rpc/transport.ts'

const { NLM4_GRANTED, NLM4_BLOCKED, NLM4_DENIED } = NLM4_STATS
const { LOCK, UNLOCK, TEST, LOCK_MSG } = NLM4.procedures
const cookie = Buffer.from('c')

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5))
}

function newDirectory(): string {
  const directory = fs.mkdtempSync(join(inject('testRoot'), 'nlm-'))
  open.push(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function serve(locking: Omit<LockServerOptions, 'onError'> = {}, directory = newDirectory()) {
  const errors: Error[] = []
  const options = { directory, host: '127.0.0.1', port: 0, onError: (error: Error) => errors.push(error) }
  const server = await NfsServer.start({ ...options, locking })
  open.push(async () => {
    await server.close()
    expect(errors).toEqual([])
  })
  const address = { host: server.host, port: server.port }
  const asker = new OncClient(tcpChannel(address, openTcp(address)))
  open.push(() => asker.close())
  const mounted = await asker.call(MOUNT3.procedures.MNT, '/export')
  if (mounted.status !== 'MNT3_OK') throw new Error(mounted.status)
  const fh = Buffer.from(mounted.handle)
  const args = (callerName: string, block = false) => ({
    cookie,
    block,
    exclusive: true,
    lock: { callerName, fh, oh: Buffer.from('o'), svid: 1, offset: 0n, length: 0n },
    reclaim: false,
    state: 0,
  })
  const isFree = async () => (await asker.call(TEST, args('asker'))).test.stat === NLM4_GRANTED
  return { server, address, directory, asker, args, isFree }
}

/** A client of ours: it is called on its own connection. */
async function ours(address: { host: string; port: number }, callerName: string) {
  const granted: string[] = []
  const server = new OncServer([
    service(NLM4, {
      GRANTED: ({ cookie, lock }) => {
        granted.push(lock.callerName)
        return { cookie, stat: NLM4_GRANTED }
      },
      LOCK_RES: ({ stat }) => {
        granted.push(`LOCK_RES ${stat}`)
        return NO_REPLY
      },
    }),
  ])
  const client = new OncClient(tcpChannel(address, openTcp(address)), { server })
  open.push(() => client.close())
  await client.call(CALLBACK.procedures.ACCEPTS_CALLS, { callerName })
  return { client, granted }
}

/** The programs of another machine, with its portmapper. Returns the portmapper's port. */
async function machine(services: readonly Service[]): Promise<number> {
  const server = new OncServer(services)
  const [tcp, udp] = [await listenTcp(server), await listenUdp(server)]
  const ports = new Map<number, number>([
    [IP_PROTOCOL.tcp, tcp.address.port],
    [IP_PROTOCOL.udp, udp.address.port],
  ])
  const portmapper = await listenUdp(
    new OncServer([
      service(PORTMAP2, {
        SET: () => false,
        UNSET: () => false,
        DUMP: () => [],
        GETPORT: ({ program, version, protocol }) =>
          services.some(({ program: one }) => one.number === program && one.version === version)
            ? (ports.get(protocol) ?? 0)
            : 0,
      }),
    ]),
  )
  for (const listener of [tcp, udp, portmapper]) open.push(() => listener.close())
  return portmapper.address.port
}

describe('over sockets', () => {
  it('a client that waits is called on its own connection; when it dies, its locks go with the lease', async () => {
    const { address, args, isFree, server } = await serve({ leaseMs: 50, graceMs: 20 })
    const [a, b] = [await ours(address, 'a'), await ours(address, 'b')]
    expect((await a.client.call(LOCK, args('a', true))).stat).toBe(NLM4_GRANTED)
    expect((await b.client.call(LOCK, args('b', true))).stat).toBe(NLM4_BLOCKED)
    a.client.close()
    await until(() => b.granted.length === 1)
    expect(await isFree()).toBe(false)
    b.client.tell(LOCK_MSG, args('b'))
    await until(() => b.granted.includes(`LOCK_RES ${NLM4_GRANTED}`))
    expect((await b.client.call(UNLOCK, { cookie, lock: args('b').lock })).stat).toBe(NLM4_GRANTED)
    expect(await isFree()).toBe(true)
    expect(server.locking.status()).toMatchObject({
      state: 1,
      recovering: 0,
      clients: [{ name: 'b', connected: true }],
    })
  })

  for (const transport of ['tcp', 'udp'] as const) {
    it(`a client of others is found through its portmapper, over ${transport}`, async () => {
      const heard: string[] = []
      const portmapPort = await machine([
        service(NLM4, {
          GRANTED: ({ cookie, lock }, { peer }) => {
            heard.push(`GRANTED ${lock.callerName} ${peer.transport}`)
            return { cookie, stat: NLM4_GRANTED }
          },
          LOCK_RES: ({ stat }, { peer }) => {
            heard.push(`LOCK_RES ${stat} ${peer.transport}`)
          },
        }),
      ])
      const { address, args, isFree } = await serve({ portmapPort })
      const kind = transport === 'tcp' ? tcpChannel(address, openTcp(address)) : udpChannel(address, openUdp(address))
      const client = new OncClient(kind)
      open.push(() => client.close())
      expect((await client.call(LOCK, args('a'))).stat).toBe(NLM4_GRANTED)
      expect((await client.call(LOCK, args('b', true))).stat).toBe(NLM4_BLOCKED)
      client.tell(LOCK_MSG, args('c'))
      await until(() => heard.includes(`LOCK_RES ${NLM4_DENIED} ${transport}`))
      await client.call(UNLOCK, { cookie, lock: args('a').lock })
      await until(() => heard.includes(`GRANTED b ${transport}`))
      expect(await isFree()).toBe(false)
    })
  }

  it('a client of others that is not reached has what it asks for when it asks again', async () => {
    // Nobody listens there.
    const closed = await listenUdp(new OncServer([]))
    const { port } = closed.address
    await closed.close()
    const { asker, args } = await serve({ portmapPort: port })
    await asker.call(LOCK, args('a'))
    expect((await asker.call(LOCK, args('b', true))).stat).toBe(NLM4_BLOCKED)
    await asker.call(UNLOCK, { cookie, lock: args('a').lock })
    expect((await asker.call(LOCK, args('b', true))).stat).toBe(NLM4_GRANTED)
  })

  it('who had locks is told of a restart, and gets them back', async () => {
    const notified: number[] = []
    const portmapPort = await machine([
      service(NSM, {
        SM_NOTIFY: ({ state }) => {
          notified.push(state)
        },
      }),
    ])
    const first = await serve({ portmapPort })
    const kept = await ours(first.address, 'ours')
    await kept.client.call(LOCK, { ...first.args('ours'), exclusive: false })
    await first.asker.call(LOCK, { ...first.args('theirs'), exclusive: false })
    kept.client.close()
    await first.server.close()
    const second = await serve({ portmapPort }, first.directory)
    // One that keeps a connection finds out itself.
    await until(() => notified.length === 1)
    expect(notified).toEqual([3])
    const again = { exclusive: false, reclaim: true }
    expect((await second.asker.call(LOCK, { ...second.args('theirs'), ...again })).stat).toBe(NLM4_GRANTED)
    expect((await second.asker.call(LOCK, { ...second.args('ours'), ...again })).stat).toBe(NLM4_GRANTED)
    expect((await second.asker.call(LOCK, second.args('new'))).stat).toBe(NLM4_STATS.NLM4_DENIED_GRACE_PERIOD)
    expect(notified).toEqual([3])
  })
})
