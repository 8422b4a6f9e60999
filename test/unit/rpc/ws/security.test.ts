// Who may connect: tokens, certificates, addresses.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import { Link } from '../../../../src/rpc/link.ts'
import { openTcp } from '../../../../src/rpc/transport.ts'
import {
  type ListenWsOptions,
  listenWs,
  type TlsFiles,
  type WsChannelOptions,
  WsClient,
  type WsListener,
  wsChannel,
} from '../../../../src/rpc/ws/index.ts'
import { add, content, Depot, failure, fetch, store, summarize, summaryOf, until } from './depot.ts'

const run = promisify(execFile)
let directory = ''
const path = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'proteus-ws-'))
  const write = (name: string, text: string) => writeFile(path(name), text, { mode: 0o600 })
  await write('token', 'a secret of some length\n')
  await write('same', ' a secret of some length')
  await write('other', 'another secret, as long\n')
  const certificate = async (name: string, ...more: string[]) =>
    run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-keyout', path(`${name}.key`), '-out', path(`${name}.pem`), '-subj', `/CN=${name}`],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', ...more],
    ])
  await certificate('server')
  await certificate('client')
  await certificate('stranger')
})
afterAll(() => rm(directory, { recursive: true }))

let open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.reverse()) await one.close()
  open = []
})

async function listen(
  options: Partial<ListenWsOptions>,
): Promise<{ listener: WsListener; depot: Depot; dropped: unknown[] }> {
  const depot = new Depot()
  const dropped: unknown[] = []
  const listener = await listenWs({
    services: [depot.service],
    onDropped: (_peer, error) => dropped.push(error),
    ...options,
  })
  open.push(listener)
  return { listener, depot, dropped }
}

function connect({ address }: WsListener, options: WsChannelOptions, link = new Link()) {
  const errors: unknown[] = []
  const client = new WsClient(wsChannel(address, link.stream(openTcp(address)), options), {
    onEvent: (event) => {
      if (event.type === 'disconnected') errors.push(event.error)
    },
  })
  open.push(client)
  return { client, errors }
}

describe('a token', () => {
  it('lets in who knows it', async () => {
    const { listener } = await listen({ tokenFile: path('token') })
    const { client } = connect(listener, { tokenFile: path('same') })
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
  })

  it.each([
    ['another', 'token', 'other'],
    ['none', 'token', undefined],
    ['one that the server has not', undefined, 'token'],
  ])('keeps out who has %s: calls fail, and none is executed', async (_name, theirs, ours) => {
    const { listener, depot } = await listen(theirs === undefined ? {} : { tokenFile: path(theirs) })
    const { client } = connect(listener, ours === undefined ? {} : { tokenFile: path(ours) })
    expect(await failure(client.call(add, { id: 1 }))).toMatchObject({ reason: 'UNAUTHORIZED', code: 'EACCES' })
    expect(client.status().lastError).toContain('UNAUTHORIZED')
    expect(client.status().lastError).not.toContain('secret')
    expect(depot.added.size).toBe(0)
  })

  it('may be renewed: it is read for each connection', async () => {
    const { listener } = await listen({ tokenFile: path('token') })
    await writeFile(path('late'), 'another secret, as long', { mode: 0o600 })
    const { client } = connect(listener, { tokenFile: path('late') })
    expect(await failure(client.call(add, { id: 1 }))).toMatchObject({ code: 'EACCES' })
    await writeFile(path('late'), 'a secret of some length')
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
  })

  it('is needed to listen beyond loopback', async () => {
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost', '']) {
      const error = await failure(listen({ host }))
      expect(error).toBeInstanceOf(FsError)
      expect(error).toMatchObject({ code: 'EINVAL' })
    }
    expect(await failure(listen({ tokenFile: path('none') }))).toMatchObject({ code: 'ENOENT' })
    const { listener } = await listen({ host: '127.0.0.2' })
    const { port } = listener.address
    expect(await failure(listen({ host: '127.0.0.2', port }))).toMatchObject({ code: 'EADDRINUSE' })
  })
})

describe('TLS', () => {
  const server = () => ({ certFile: path('server.pem'), keyFile: path('server.key') })

  it('carries the same, also over a link that is slow', async () => {
    const { listener } = await listen({ tls: server(), tokenFile: path('token') })
    const link = new Link()
    link.set('latency=2ms')
    const { client } = connect(listener, { tls: { caFile: path('server.pem') }, tokenFile: path('token') }, link)
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
    link.set('reset')
    const size = 3_000_000
    const { bytes, result } = await client.call(fetch, { bytes: size })
    expect(await summarize(bytes)).toEqual(result)
    expect(await client.call(store, { name: 'a' }, { bytes: content(size) })).toEqual(summaryOf(size))
  })

  it.each<[string, () => TlsFiles | undefined]>([
    ['speaks none', () => undefined],
    ['trusts others', () => ({ caFile: path('stranger.pem') })],
    ['trusts those of the system', () => ({})],
  ])('is not there for a client that %s', async (_name, tls) => {
    const { listener } = await listen({ tls: server() })
    const files = tls()
    const { client, errors } = connect(listener, files === undefined ? {} : { tls: files })
    const call = failure(client.call(add, { id: 1 }))
    await until(() => errors.length > 0)
    expect(listener.connections).toBe(0)
    client.close()
    expect(await call).toMatchObject({ reason: 'CLOSED' })
  })

  it('wants a certificate of clients if it is told whose', async () => {
    const { listener } = await listen({ tls: { ...server(), caFile: path('client.pem') } })
    const client = (name: string | undefined) =>
      connect(listener, {
        tls: {
          caFile: path('server.pem'),
          ...(name === undefined ? {} : { certFile: path(`${name}.pem`), keyFile: path(`${name}.key`) }),
        },
      })
    expect(await client('client').client.call(add, { id: 1 })).toEqual({ id: 1 })
    for (const name of [undefined, 'stranger']) {
      const { client: refused, errors } = client(name)
      void failure(refused.call(add, { id: 2 }))
      await until(() => errors.length > 0)
      refused.close()
    }
    expect(listener.connections).toBe(1)
  })

  it('needs its files', async () => {
    expect(await failure(listen({ tls: { certFile: path('none'), keyFile: path('none') } }))).toMatchObject({
      code: 'ENOENT',
    })
  })
})
