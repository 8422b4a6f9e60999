// The NFS server on loopback: `node bench/nfs-server.mjs [seconds]` after `npm run build:ts`. The server is a process of
// its own; `--cpu-prof` in NODE_OPTIONS profiles it. What a plain pair of TCP sockets moves is measured in the same run.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeepAwake } from '../dist/host/keep-awake.js'
import { MOUNT3 } from '../dist/modes/nfs/mount3.js'
import { NFS3 } from '../dist/modes/nfs/nfs3.js'
import { NfsServer } from '../dist/modes/nfs/server.js'
import { authSys } from '../dist/rpc/onc/auth.js'
import { tcpChannel } from '../dist/rpc/onc/channel.js'
import { OncClient } from '../dist/rpc/onc/client.js'
import { openTcp } from '../dist/rpc/transport.js'

const MIB = 2 ** 20
const HANDLES = 100_000
const CONNECTIONS = 1000
const { GETATTR, LOOKUP, ACCESS, READ, WRITE, COMMIT, CREATE, READDIRPLUS, NULL } = NFS3.procedures
const SAME = { how: 'DONT_CHANGE' }
const NOTHING = { mode: 0o644, uid: undefined, gid: undefined, size: undefined, atime: SAME, mtime: SAME }

async function serve(directory) {
  const server = await NfsServer.start({ directory, host: '127.0.0.1', port: 0, onError: console.error })
  const chunk = Buffer.alloc(MIB)
  // The plain pair: whoever connects says by one byte whether it wants to read or write.
  const plain = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', ([what]) => {
      if (what !== 114) return
      const more = () => {
        while (socket.write(chunk));
      }
      socket.on('drain', more)
      more()
    })
  })
  await new Promise((resolve) => plain.listen(0, '127.0.0.1', resolve))
  process.on('message', async (what) => {
    if (what === 'usage') process.send({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss() })
    if (what !== 'end') return
    plain.close()
    await server.close()
    process.exit()
  })
  process.send({ port: server.port, plain: plain.address().port })
}

const open = (port) =>
  new OncClient(tcpChannel({ host: '127.0.0.1', port }, openTcp({ host: '127.0.0.1', port })), {
    credential: authSys({ stamp: 0, machineName: 'bench', uid: 0, gid: 0, gids: [0, 1, 2] }),
    awake: new KeepAwake(100),
  })

async function plainRate(port, what, seconds) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const chunk = Buffer.alloc(MIB)
  let ended = false
  let bytes = 0
  const from = performance.now()
  await new Promise((resolve) => {
    const passed = () => {
      if (performance.now() - from < seconds * 1000) return false
      ended = true
      resolve()
      return true
    }
    socket.on('data', ({ length }) => {
      bytes += length
      passed()
    })
    const more = () => {
      while (!ended && !passed()) {
        bytes += MIB
        if (!socket.write(chunk)) return
      }
    }
    socket.write(what, () => {
      if (what === 'r') return
      socket.on('drain', more)
      more()
    })
  })
  const rate = bytes / MIB / ((performance.now() - from) / 1000)
  socket.destroy()
  return rate
}

async function measure({ port, plain }, usage, seconds) {
  const client = open(port)
  const { handle } = await client.call(MOUNT3.procedures.MNT, '/export')
  const root = Buffer.from(handle)
  const make = async (name) => {
    const how = { mode: 'UNCHECKED', attributes: NOTHING }
    return Buffer.from((await client.call(CREATE, { where: { dir: root, name }, how })).object)
  }
  const report = async (name, depth, call, bytes = 0, peer = 0) => {
    const { cpu } = await usage()
    const from = performance.now()
    const until = from + seconds * 1000
    let calls = 0
    const caller = async () => {
      while (performance.now() < until) {
        await call(calls++)
      }
    }
    await Promise.all(Array.from({ length: depth }, caller))
    const passed = (performance.now() - from) / 1000
    const { cpu: after, rss } = await usage()
    const used = (after.user + after.system - cpu.user - cpu.system) / 1e6
    const mib = (calls * bytes) / passed / MIB
    const rate =
      bytes > 0 ? `, ${mib.toFixed(0)} MiB/s, ${(mib / peer).toFixed(2)} of a plain pair (${peer.toFixed(0)})` : ''
    console.log(
      `${name.padEnd(20)} depth ${String(depth).padStart(3)}: ${Math.round(calls / passed)}/s, ` +
        `${Math.round(calls / used)} per second of CPU, ${Math.round(rss / MIB)} MiB${rate}`,
    )
  }

  const file = await make('file')
  const data = Buffer.alloc(MIB, 'x')
  for (let at = 0; at < 64; at++)
    await client.call(WRITE, { file, offset: at * MIB, count: MIB, stable: 'UNSTABLE', data })
  await report('warm up', 64, () => client.call(GETATTR, { object: file }))
  for (const depth of [1, 64, 256]) await report('GETATTR', depth, () => client.call(GETATTR, { object: file }))
  await report('LOOKUP', 64, () => client.call(LOOKUP, { what: { dir: root, name: 'file' } }))
  await report('ACCESS', 64, () => client.call(ACCESS, { object: file, access: 0x3f }))
  await report('READ 4 KiB', 64, () => client.call(READ, { file, offset: 0, count: 4096 }))
  const small = data.subarray(0, 4096)
  const write = { file, offset: 0, count: 4096, stable: 'UNSTABLE', data: small }
  await report('WRITE 4 KiB', 64, () => client.call(WRITE, write))
  const [out, back] = [await plainRate(plain, 'r', seconds), await plainRate(plain, 'w', seconds)]
  const at = (n) => (n % 64) * MIB
  for (const depth of [4, 16]) {
    await report('READ 1 MiB', depth, (n) => client.call(READ, { file, offset: at(n), count: MIB }), MIB, out)
    const large = (n) => ({ file, offset: at(n), count: MIB, stable: 'UNSTABLE', data })
    await report('WRITE 1 MiB', depth, (n) => client.call(WRITE, large(n)), MIB, back)
  }
  await client.call(COMMIT, { file, offset: 0, count: 0 })

  const handles = []
  const created = performance.now()
  for (let n = 0; n < HANDLES; n += 500)
    handles.push(...(await Promise.all(Array.from({ length: 500 }, (_, k) => make(`many${n + k}`)))))
  console.log(`${HANDLES} files made: ${Math.round(HANDLES / ((performance.now() - created) / 1000))}/s`)
  await report(`GETATTR, ${HANDLES} files`, 64, (n) => client.call(GETATTR, { object: handles[n % HANDLES] }))
  let cookie = 0n
  const more = { dir: root, verifier: Buffer.alloc(8), dircount: MIB, maxcount: 65_536 }
  await report('READDIRPLUS 64 KiB', 1, async () => {
    const { entries, eof } = await client.call(READDIRPLUS, { ...more, cookie })
    cookie = eof ? 0n : entries.at(-1).cookie
  })
  const clients = Array.from({ length: CONNECTIONS }, () => open(port))
  await Promise.all(clients.map((one) => one.call(NULL, undefined)))
  await report(`${CONNECTIONS} connections`, CONNECTIONS, (n) =>
    clients[n % CONNECTIONS].call(GETATTR, { object: handles[n % HANDLES] }),
  )
  for (const one of [client, ...clients]) one.close()
}

if (process.argv[2] === 'serve') await serve(process.argv[3])
else {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nfs-'))
  const server = fork(new URL(import.meta.url), ['serve', join(folder, 'volume')])
  const next = () => new Promise((resolve) => server.once('message', resolve))
  const ended = new Promise((resolve) => server.once('exit', resolve))
  const usage = () => {
    server.send('usage')
    return next()
  }
  try {
    await measure(await next(), usage, Number(process.argv[2] ?? 2))
  } finally {
    server.send('end')
    await ended
    rmSync(folder, { recursive: true })
  }
}
