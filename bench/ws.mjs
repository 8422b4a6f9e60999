// Calls per second and rates of streams of the typed services over WebSocket, on loopback, beside a plain TCP pair of Node:
// `node bench/ws.mjs [seconds]` after `npm run build:ts`. The client runs in a process of its own. `taskset -c 0` puts both
// on one CPU.
import { fork } from 'node:child_process'
import { createServer } from 'node:net'
import * as v from 'valibot'
import { KeepAwake } from '../dist/host/keep-awake.js'
import { openTcp } from '../dist/rpc/transport.js'
import {
  bytes,
  listenWs,
  nothing,
  procedure,
  program,
  service,
  unsigned,
  WsClient,
  wsChannel,
} from '../dist/rpc/ws/index.js'
import { receivePlain, sendPlain } from './tcp-pair.mjs'

const MIB = 2 ** 20
const STREAM_MIB = 256
const CHUNK_BYTES = MIB
const HOST = '127.0.0.1'

const BENCH = program('BENCH', 200_000, 1, {
  null: procedure(0, nothing, nothing),
  call: procedure(1, v.object({ fid: unsigned(), data: bytes(1024) }), v.object({ data: bytes(1024) })),
  once: procedure(2, v.object({ data: bytes(1024) }), v.object({ data: bytes(1024) }), { idempotent: false }),
  fetch: procedure(3, v.object({ mib: unsigned(4096) }), nothing, { bytesOut: true }),
  store: procedure(4, nothing, unsigned(), { bytesIn: true, idempotent: false }),
})
const { null: NULL, call: CALL, once: ONCE, fetch: FETCH, store: STORE } = BENCH.procedures

function* content(mib) {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'x')
  for (let i = 0; i < mib; i++) yield chunk
}

async function serve() {
  const handlers = {
    null: () => undefined,
    call: ({ data }) => ({ data }),
    once: ({ data }) => ({ data }),
    fetch: ({ mib }) => ({ result: undefined, bytes: content(mib), length: mib * MIB }),
    async store(_nothing, { bytes: incoming }) {
      let received = 0
      for await (const piece of incoming) received += piece.length
      return received
    },
  }
  const listener = await listenWs({ services: [service(BENCH, handlers)], awake: new KeepAwake(100) })
  const plain = createServer({ noDelay: true }, (socket) => sendPlain(socket, STREAM_MIB)).listen(0, HOST)
  await new Promise((resolve) => plain.once('listening', resolve))
  const before = process.cpuUsage()
  process.on('message', (what) => {
    if (what === 'cpu') process.send({ cpu: process.cpuUsage(before) })
  })
  process.on('disconnect', () => process.exit())
  process.send({ port: listener.address.port, plainPort: plain.address().port })
}

async function measure({ port, plainPort }, serverCpu, seconds) {
  const address = { host: HOST, port }
  const client = new WsClient(wsChannel(address, openTcp(address)), { awake: new KeepAwake(100) })
  const data = Buffer.alloc(200, 'd')
  const calls = async (name, depth, call) => {
    const cpu = await serverCpu()
    const [from, own] = [performance.now(), process.cpuUsage()]
    const until = from + seconds * 1000
    let count = 0
    const caller = async () => {
      while (performance.now() < until) {
        await call()
        count++
      }
    }
    await Promise.all(Array.from({ length: depth }, caller))
    const passed = (performance.now() - from) / 1000
    const used = (await serverCpu()) - cpu
    const { user, system } = process.cpuUsage(own)
    const each = `${(used / count).toFixed(1)} µs of the server's CPU, ${((user + system) / count).toFixed(1)} µs of the client's`
    console.log(`${name.padEnd(16)} depth ${String(depth).padStart(3)}: ${Math.round(count / passed)}/s, ${each}`)
  }
  const rate = async (name, transfer) => {
    const from = performance.now()
    const moved = await transfer()
    const mibPerSecond = moved / MIB / ((performance.now() - from) / 1000)
    console.log(`${name.padEnd(16)} ${STREAM_MIB} MiB: ${mibPerSecond.toFixed(0)} MiB/s`)
    return mibPerSecond
  }
  const fetch = async () => {
    const { bytes: incoming } = await client.call(FETCH, { mib: STREAM_MIB })
    let received = 0
    for await (const piece of incoming) received += piece.length
    return received
  }
  const store = () => client.call(STORE, undefined, { bytes: content(STREAM_MIB), length: STREAM_MIB * MIB })

  await calls('warm up', 64, () => client.call(CALL, { fid: 1, data }))
  for (const depth of [1, 16, 64, 256]) await calls('null', depth, () => client.call(NULL, undefined))
  for (const depth of [1, 16, 64, 256]) await calls('200 bytes', depth, () => client.call(CALL, { fid: 1, data }))
  await calls('200 bytes, once', 64, () => client.call(ONCE, { data }))
  const rates = { plain: [], fetch: [], store: [] }
  for (let round = 0; round < 5; round++) {
    rates.plain.push(await rate('plain TCP', () => receivePlain(plainPort)))
    rates.fetch.push(await rate('fetch', fetch))
    rates.store.push(await rate('store', store))
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
  const [plain, fetched, stored] = [rates.plain, rates.fetch, rates.store].map(median)
  console.log(
    `medians: plain ${plain.toFixed(0)}, fetch ${(fetched / plain).toFixed(2)}, store ${(stored / plain).toFixed(2)} of it`,
  )
  client.close()
}

if (process.argv[2] === 'serve') await serve()
else {
  const server = fork(new URL(import.meta.url), ['serve'])
  const next = () => new Promise((resolve) => server.once('message', resolve))
  const ports = await next()
  const serverCpu = async () => {
    server.send('cpu')
    const { cpu } = await next()
    return cpu.user + cpu.system
  }
  await measure(ports, serverCpu, Number(process.argv[2] ?? 2))
  server.kill()
}
