// Calls per second of the ONC RPC server and client, on loopback: `node bench/onc.mjs [seconds]` after `npm run build:ts`.
// The client runs in a process of its own. `taskset -c 0` puts both on one CPU.
import { fork } from 'node:child_process'
import { nothing, opaque, optional, struct, text, u32, u64, u64big } from '../dist/codec/xdr.js'
import { KeepAwake } from '../dist/host/keep-awake.js'
import { authSys } from '../dist/rpc/onc/auth.js'
import { tcpChannel } from '../dist/rpc/onc/channel.js'
import { OncClient } from '../dist/rpc/onc/client.js'
import { procedure, program } from '../dist/rpc/onc/program.js'
import { OncServer } from '../dist/rpc/onc/server.js'
import { service } from '../dist/rpc/onc/service.js'
import { listenTcp } from '../dist/rpc/onc/tcp-server.js'
import { openTcp } from '../dist/rpc/transport.js'

const time = struct({ seconds: u32, nseconds: u32 })
// As large as an NFS fattr3 (RFC 1813 §2.6).
const attributes = struct({
  ...{ type: u32, mode: u32, nlink: u32, uid: u32, gid: u32, size: u64, used: u64, rdev: time },
  ...{ fsid: u64big, fileid: u64, atime: time, mtime: time, ctime: time },
})
const BENCH = program('BENCH', 200_000, 1, {
  NULL: procedure(0, nothing, nothing),
  GETATTR: procedure(1, struct({ object: opaque(64) }), struct({ status: u32, attributes: optional(attributes) })),
  READ: procedure(2, struct({ count: u32 }), struct({ data: opaque(1024 * 1024) })),
  WRITE: procedure(3, struct({ name: text(255), data: opaque(1024 * 1024) }), nothing, { idempotent: false }),
})
const { NULL, GETATTR, READ, WRITE } = BENCH.procedures

async function serve() {
  const now = { seconds: 1, nseconds: 2 }
  const some = { type: 1, mode: 0o644, nlink: 1, uid: 0, gid: 0, size: 4096, used: 4096, rdev: now }
  const answer = { status: 0, attributes: { ...some, fsid: 7n, fileid: 9, atime: now, mtime: now, ctime: now } }
  const data = Buffer.alloc(1024 * 1024)
  const handlers = {
    GETATTR: () => answer,
    READ: ({ count }) => ({ data: data.subarray(0, count) }),
    WRITE: () => undefined,
  }
  const listener = await listenTcp(new OncServer([service(BENCH, handlers)]), { awake: new KeepAwake(100) })
  const before = process.cpuUsage()
  process.on('message', (what) => {
    if (what === 'cpu') process.send({ cpu: process.cpuUsage(before) })
  })
  process.send({ port: listener.address.port })
}

async function measure(port, serverCpu, seconds) {
  const identity = { stamp: 0, machineName: 'bench', uid: 0, gid: 0, gids: [0, 1, 2] }
  const client = new OncClient(tcpChannel({ host: '127.0.0.1', port }, openTcp({ host: '127.0.0.1', port })), {
    credential: authSys(identity),
    awake: new KeepAwake(100),
  })
  const handle = { object: Buffer.alloc(32) }
  const data = Buffer.alloc(1024 * 1024)
  const report = async (name, depth, call, bytes = 0) => {
    const cpu = await serverCpu()
    const until = performance.now() + seconds * 1000
    const from = performance.now()
    let calls = 0
    const caller = async () => {
      while (performance.now() < until) {
        await call()
        calls++
      }
    }
    await Promise.all(Array.from({ length: depth }, caller))
    const passed = (performance.now() - from) / 1000
    const used = (await serverCpu()) - cpu
    const rate = bytes > 0 ? `${((calls * bytes) / passed / 2 ** 20).toFixed(0)} MiB/s` : ''
    const perCore = `${Math.round(calls / (used / 1e6))} per second of the server's CPU`
    console.log(
      `${name.padEnd(16)} depth ${String(depth).padStart(3)}: ${Math.round(calls / passed)}/s, ${perCore} ${rate}`,
    )
  }
  await report('warm up', 64, () => client.call(GETATTR, handle))
  for (const depth of [1, 16, 64, 256]) await report('NULL', depth, () => client.call(NULL, undefined))
  for (const depth of [1, 16, 64, 256]) await report('GETATTR', depth, () => client.call(GETATTR, handle))
  await report('READ 1 MiB', 4, () => client.call(READ, { count: data.length }), data.length)
  await report('WRITE 1 MiB', 4, () => client.call(WRITE, { name: 'a', data }), data.length)
  client.close()
}

if (process.argv[2] === 'serve') await serve()
else {
  const server = fork(new URL(import.meta.url), ['serve'])
  const next = () => new Promise((resolve) => server.once('message', resolve))
  const { port } = await next()
  const serverCpu = async () => {
    server.send('cpu')
    const { cpu } = await next()
    return cpu.user + cpu.system
  }
  await measure(port, serverCpu, Number(process.argv[2] ?? 2))
  server.kill()
}
