// What a file server of mode `afs` does alone, on loopback, beside a plain TCP pair of Node in the same run:
// `node bench/afs-server.mjs [seconds]` after `npm run build:ts`. The server runs in a process of its own. `DIR=/some/dir`
// puts its volume on another file system.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeepAwake } from '../dist/host/keep-awake.js'
import { AFS, AFSCB } from '../dist/modes/afs/protocol.js'
import { AfsServer } from '../dist/modes/afs/server.js'
import { openTcp } from '../dist/rpc/transport.js'
import { service, WsClient, wsChannel } from '../dist/rpc/ws/index.js'
import { receivePlain, sendPlain } from './tcp-pair.mjs'

const MIB = 2 ** 20
const STREAM_MIB = 256
const CHUNK_BYTES = MIB
const CLIENTS = 100
const HOST = '127.0.0.1'
const { FetchStatus, FetchData, StoreData, CreateFile, GetVolumeStatus, BulkStatus } = AFS.procedures
const who = { uid: 0, gid: 0, groups: [] }

function* content(mib) {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'x')
  for (let i = 0; i < mib; i++) yield chunk
}

async function serve(directory) {
  const server = await AfsServer.start({ directory })
  const plain = createServer({ noDelay: true }, (socket) => sendPlain(socket, STREAM_MIB)).listen(0, HOST)
  await new Promise((resolve) => plain.once('listening', resolve))
  const before = process.cpuUsage()
  process.on('message', (what) => {
    if (what === 'cpu') process.send({ cpu: process.cpuUsage(before) })
  })
  process.send({ port: server.port, plainPort: plain.address().port })
}

function newClient(port, onBreak = () => {}) {
  const address = { host: HOST, port }
  const services = [service(AFSCB, { Probe: () => {}, CallBack: onBreak, InitCallBackState: () => {} })]
  return new WsClient(wsChannel(address, openTcp(address)), { services, keep: true, awake: new KeepAwake(100) })
}

async function measure({ port, plainPort }, serverCpu, seconds) {
  const client = newClient(port)
  const { root } = await client.call(GetVolumeStatus, { volume: 'root.cell' })
  const create = async (name) => (await client.call(CreateFile, { who, parent: root, name, mode: 0o644 })).made.fid
  const store = (fid, bytes, length) =>
    client.call(StoreData, { who, fid, length, durable: false, changes: {} }, { bytes, length })
  const fetch = async (fid) => {
    const { bytes } = await client.call(FetchData, { who, fid, offset: 0 })
    let received = 0
    for await (const piece of bytes) received += piece.length
    return received
  }
  const calls = async (name, depth, call) => {
    const cpu = await serverCpu()
    const from = performance.now()
    const until = from + seconds * 1000
    let count = 0
    const caller = async () => {
      while (performance.now() < until) {
        await call()
        count++
      }
    }
    await Promise.all(Array.from({ length: depth }, caller))
    const each = ((await serverCpu()) - cpu) / count
    const rate = Math.round(count / ((performance.now() - from) / 1000))
    console.log(
      `${name.padEnd(20)} depth ${String(depth).padStart(3)}: ${rate}/s, ${each.toFixed(1)} µs of the server's CPU`,
    )
  }
  const small = await create('small')
  await store(small, [Buffer.alloc(4096, 's')], 4096)
  await calls('warm up', 64, () => client.call(FetchStatus, { who, fid: small }))
  for (const depth of [1, 64]) await calls('FetchStatus', depth, () => client.call(FetchStatus, { who, fid: small }))
  const many = Array.from({ length: 100 }, () => small)
  await calls('BulkStatus of 100', 4, () => client.call(BulkStatus, { who, fids: many }))
  for (const depth of [1, 64]) await calls('FetchData 4 KiB', depth, () => fetch(small))
  for (const depth of [1, 16])
    await calls('StoreData 4 KiB', depth, () => store(small, [Buffer.alloc(4096, 's')], 4096))
  let made = 0
  await calls('CreateFile', 16, () => create(`made${made++}`))

  const large = await create('large')
  const rates = { plain: [], store: [], fetch: [] }
  const rate = async (name, transfer) => {
    const from = performance.now()
    await transfer()
    rates[name].push(STREAM_MIB / ((performance.now() - from) / 1000))
  }
  for (let round = 0; round < 5; round++) {
    await rate('plain', () => receivePlain(plainPort))
    await rate('store', () => store(large, content(STREAM_MIB), STREAM_MIB * MIB))
    await rate('fetch', () => fetch(large))
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
  const [plain, stored, fetched] = [rates.plain, rates.store, rates.fetch].map(median)
  console.log(
    `${STREAM_MIB} MiB, medians: plain TCP ${plain.toFixed(0)} MiB/s, fetch ${fetched.toFixed(0)} (${(fetched / plain).toFixed(2)}), ` +
      `store ${stored.toFixed(0)} (${(stored / plain).toFixed(2)})`,
  )
  await breaks(port, small, store)
  client.close()
}

/** How long a store takes that many others have to be told of first, against one that nobody is told of. */
async function breaks(port, fid, store) {
  let told = 0
  let last = 0
  const holders = Array.from({ length: CLIENTS }, () =>
    newClient(port, () => {
      told++
      last = performance.now()
    }),
  )
  const alone = []
  const withBreaks = []
  const heard = []
  for (let round = 0; round < 10; round++) {
    await Promise.all(holders.map((holder) => holder.call(FetchStatus, { who, fid })))
    told = 0
    const from = performance.now()
    await store(fid, [Buffer.alloc(10)], 10)
    withBreaks.push(performance.now() - from)
    heard.push(last - from)
    if (told !== CLIENTS) throw new Error(`${told} were told`)
    const again = performance.now()
    await store(fid, [Buffer.alloc(10)], 10)
    alone.push(performance.now() - again)
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1].toFixed(2)
  console.log(
    `a store with ${CLIENTS} clients to tell: ${median(withBreaks)} ms (all have heard after ${median(heard)} ms); ` +
      `with none: ${median(alone)} ms`,
  )
  for (const holder of holders) holder.close()
}

if (process.argv[2] === 'serve') await serve(process.argv[3])
else {
  const directory = mkdtempSync(join(process.env.DIR ?? tmpdir(), 'afs-bench-'))
  const child = fork(new URL(import.meta.url), ['serve', directory])
  const message = () => new Promise((resolve) => child.once('message', resolve))
  const serverCpu = async () => {
    child.send('cpu')
    const { cpu } = await message()
    return cpu.user + cpu.system
  }
  try {
    await measure(await message(), serverCpu, Number(process.argv[2] ?? 2))
  } finally {
    child.kill()
    await new Promise((resolve) => child.once('exit', resolve))
    rmSync(directory, { recursive: true, force: true })
  }
}
