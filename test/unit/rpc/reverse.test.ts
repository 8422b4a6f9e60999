// Calls in both directions over one TCP connection, which the client opened.
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { encode, nothing, text, u32 } from '../../../src/codec/xdr.ts'
import { tcpChannel } from '../../../src/rpc/onc/channel.ts'
import { OncClient, type OncClientOptions } from '../../../src/rpc/onc/client.ts'
import { procedure, program } from '../../../src/rpc/onc/program.ts'
import { OncServer } from '../../../src/rpc/onc/server.ts'
import { NO_REPLY, type OncContext, service } from '../../../src/rpc/onc/service.ts'
import { listenTcp } from '../../../src/rpc/onc/tcp-server.ts'
import { openTcp } from '../../../src/rpc/transport.ts'

const BOTH = program('BOTH', 0x4000_0001, 1, {
  NULL: procedure(0, nothing, nothing),
  ASK: procedure(1, text(100), text(100)),
  SAY: procedure(2, text(100), nothing),
  CALL_ME: procedure(3, nothing, nothing),
  HANG: procedure(4, nothing, nothing),
})
const { ASK, SAY, CALL_ME, HANG } = BOTH.procedures

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

/** A server that keeps the ways back to its clients. */
async function setup() {
  const said: string[] = []
  const backs: OncClient[] = []
  const server = new OncServer([
    service(BOTH, {
      ASK: (name) => `server: ${name}`,
      SAY: (name) => {
        said.push(name)
        return NO_REPLY
      },
      CALL_ME: (_, { peer }: OncContext) => {
        if (peer.back === undefined) throw new Error('there is no way back')
        const back = new OncClient(peer.back, { keep: true, hard: false, timeoMs: 60_000 })
        peer.signal.addEventListener('abort', () => back.close())
        backs.push(back)
      },
    }),
  ])
  const listener = await listenTcp(server)
  open.push(() => listener.close())
  const client = (options: OncClientOptions = {}) => {
    const made = new OncClient(tcpChannel(listener.address, openTcp(listener.address)), options)
    open.push(() => made.close())
    return made
  }
  return { said, backs, server, listener, client }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

function clientSide() {
  const said: string[] = []
  const hanging: AbortSignal[] = []
  const server = new OncServer([
    service(BOTH, {
      ASK: async (name) => `client: ${name}`,
      SAY: (name) => {
        said.push(name)
        return NO_REPLY
      },
      HANG: (_, { signal }) => {
        hanging.push(signal)
        return new Promise(() => {})
      },
    }),
  ])
  return { said, hanging, server }
}

describe('ONC RPC in both directions', () => {
  it('calls and answers cross on one connection', async () => {
    const { backs, client } = await setup()
    const { server, said } = clientSide()
    const there = client({ server })
    await there.call(CALL_ME, undefined)
    const [back] = backs
    const asked = Array.from({ length: 50 }, (_, i) =>
      Promise.all([there.call(ASK, `a${i}`), (back as OncClient).call(ASK, `b${i}`)]),
    )
    expect(await Promise.all(asked)).toEqual(asked.map((_, i) => [`server: a${i}`, `client: b${i}`]))
    back?.tell(SAY, 'hello')
    await until(() => said.length === 1)
    expect(said).toEqual(['hello'])
  })

  it('a message is not answered, and one that has no connection yet waits for it', async () => {
    const { client, said, server } = await setup()
    const there = client()
    there.tell(SAY, 'first')
    there.tell(SAY, 'second')
    await until(() => said.length === 2)
    expect(said).toEqual(['first', 'second'])
    expect(await there.call(ASK, 'x')).toBe('server: x')
    expect(server.statistics.snapshot()['BOTH.SAY']).toMatchObject({ calls: 2, failures: 0, bytesSent: 0 })
  })

  it('calls back fail when the connection ends, and what the other side is busy with is aborted', async () => {
    const { backs, client, listener } = await setup()
    const { server, hanging } = clientSide()
    const there = client({ server })
    await there.call(CALL_ME, undefined)
    const answer = (backs[0] as OncClient).call(HANG, undefined)
    await until(() => hanging.length === 1)
    await listener.close()
    await expect(answer).rejects.toMatchObject({ reason: 'CLOSED' })
    await until(() => hanging[0]?.aborted === true)
  })

  it('a connection that is kept is opened without a call, and again when it is lost', async () => {
    const { client, backs, listener, server } = await setup()
    const there: OncClient = client({
      keep: true,
      server: clientSide().server,
      onEvent: ({ type }) => {
        if (type === 'connected') void there.call(CALL_ME, undefined)
      },
    })
    await until(() => backs.length === 1)
    const { port } = listener.address
    await listener.close()
    const again = await listenTcp(server, { port })
    open.push(() => again.close())
    await until(() => backs.length === 2)
    expect(await (backs[1] as OncClient).call(ASK, 'again')).toBe('client: again')
  })

  it('a reply where nobody calls back ends the connection, as before', async () => {
    const { listener } = await setup()
    const socket = connect({ ...listener.address })
    open.push(() => socket.destroy())
    socket.write(Buffer.concat([encode(u32, 0x8000_0008), encode(u32, 7), encode(u32, 1)]))
    await new Promise((resolve) => socket.on('close', resolve).on('error', () => {}))
  })

  it('a client that serves nothing does not take calls', async () => {
    const { backs, client } = await setup()
    const events: string[] = []
    const there = client({ onEvent: ({ type }) => events.push(type) })
    await there.call(CALL_ME, undefined)
    await expect((backs[0] as OncClient).call(ASK, 'x')).rejects.toMatchObject({ reason: 'CLOSED' })
    await until(() => events.includes('disconnected'))
  })
})
