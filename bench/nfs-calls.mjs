// What one call costs the NFS server: `node bench/nfs-calls.mjs [--directory DIR] [--rounds N] [--strace] [--json]` after
// `npm run build:ts`. Calls come one by one over TCP from this process; the server is another one, on one CPU. Printed are
// its microseconds of CPU per call (user and system, all threads), the least of the rounds, and with `--strace` how many
// system calls that are. What it does later, when it is quiet, is a row of its own.
import { fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { MOUNT3 } from '../dist/modes/nfs/mount3.js'
import { NFS3 } from '../dist/modes/nfs/nfs3.js'
import { NfsServer } from '../dist/modes/nfs/server.js'
import { authSys } from '../dist/rpc/onc/auth.js'
import { tcpChannel } from '../dist/rpc/onc/channel.js'
import { OncClient } from '../dist/rpc/onc/client.js'
import { openTcp } from '../dist/rpc/transport.js'

/** Files of one round: each is created, written, asked, changed and removed once. */
const FILES = 2000
/** Files in the directory that is listed whole by one call. */
const LISTED = 100
const DATA = Buffer.alloc(4096, 'x')
const SAME = { how: 'DONT_CHANGE' }
const NOTHING = { mode: undefined, uid: undefined, gid: undefined, size: undefined, atime: SAME, mtime: SAME }
const TIME = { how: 'SET_TO_CLIENT_TIME', time: { seconds: 1_700_000_000, nseconds: 5 } }
const P = NFS3.procedures

async function serve(directory) {
  const server = await NfsServer.start({ directory, host: '127.0.0.1', port: 0, onError: console.error })
  process.on('message', async (what) => {
    if (what === 'usage') process.send(process.cpuUsage())
    if (what !== 'end') return
    await server.close()
    process.exit()
  })
  process.send(server.port)
}

async function* procedures(client, round) {
  const root = Buffer.from((await client.call(MOUNT3.procedures.MNT, '/export')).handle)
  const guarded = { mode: 'GUARDED', attributes: { ...NOTHING, mode: 0o644 } }
  const make = async (dir, name) =>
    Buffer.from((await client.call(P.CREATE, { where: { dir, name }, how: guarded })).object)
  const directory = async (name) => {
    const made = await client.call(P.MKDIR, { where: { dir: root, name }, attributes: { ...NOTHING, mode: 0o755 } })
    return Buffer.from(made.object)
  }
  const listed = await directory(`listed${round}`)
  for (let n = 0; n < LISTED; n++) await make(listed, `file-${n}`)
  const dir = await directory(`round${round}`)
  const names = Array.from({ length: FILES }, (_, n) => `file-${n}`)
  const files = []
  const write = (n, offset) =>
    client.call(P.WRITE, { file: files[n], offset, count: DATA.length, stable: 'FILE_SYNC', data: DATA })
  const set = (n, changes) =>
    client.call(P.SETATTR, { object: files[n], changes: { ...NOTHING, ...changes }, guard: undefined })
  const page = { dir: listed, cookie: 0n, verifier: Buffer.alloc(8), dircount: 65_536, maxcount: 65_536 }
  const where = (n) => ({ dir, name: names[n] })

  yield ['NULL', () => client.call(P.NULL, undefined)]
  yield ['CREATE', async (n) => void files.push(await make(dir, names[n]))]
  yield ['WRITE 4 KiB', (n) => write(n, 0)]
  yield ['WRITE 4 KiB more', (n) => write(n, DATA.length)]
  yield ['GETATTR', (n) => client.call(P.GETATTR, { object: files[n] })]
  yield ['LOOKUP', (n) => client.call(P.LOOKUP, { what: where(n) })]
  yield ['LOOKUP (none)', (n) => client.call(P.LOOKUP, { what: { dir, name: `none-${n}` } })]
  yield ['ACCESS', (n) => client.call(P.ACCESS, { object: files[n], access: 0x3f })]
  yield ['READ 4 KiB', (n) => client.call(P.READ, { file: files[n], offset: 0, count: DATA.length })]
  yield ['SETATTR mode', (n) => set(n, { mode: 0o600 })]
  yield ['SETATTR times', (n) => set(n, { atime: TIME, mtime: TIME })]
  yield ['SETATTR size', (n) => set(n, { size: 100 })]
  yield ['RENAME', (n) => client.call(P.RENAME, { from: where(n), to: { dir, name: `renamed-${n}` } })]
  yield ['READDIRPLUS 100', () => client.call(P.READDIRPLUS, page)]
  yield ['REMOVE', (n) => client.call(P.REMOVE, { object: { dir, name: `renamed-${n}` } })]
}

/** Counts the system calls of a process while `work` runs. */
async function countCalls(pid, folder, work) {
  const output = join(folder, 'strace')
  const strace = spawn('strace', ['-c', '-f', '-p', String(pid), '-o', output], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => strace.once('exit', resolve))
  await new Promise((resolve) => strace.stderr.once('data', resolve))
  await work()
  strace.kill('SIGINT')
  await ended
  // % time, seconds, usecs/call, calls, (errors,) syscall
  const rows = readFileSync(output, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  return new Map(
    rows
      .filter((row) => /^\d+$/.test(row[3] ?? '') && row.at(-1) !== 'total')
      .map((row) => [row.at(-1), Number(row[3])]),
  )
}

/** Of the rounds the one that others on this machine disturbed least. */
const least = (values) => Math.min(...values)

async function measure(server, folder, { rounds, strace, json }) {
  const next = () => new Promise((resolve) => server.once('message', resolve))
  const port = await next()
  const client = new OncClient(tcpChannel({ host: '127.0.0.1', port }, openTcp({ host: '127.0.0.1', port })), {
    credential: authSys({ stamp: 0, machineName: 'bench', uid: 0, gid: 0, gids: [0] }),
  })
  const usage = async () => {
    server.send('usage')
    const { user, system } = await next()
    return user + system
  }
  const costs = new Map()
  const systemCalls = new Map()
  const note = (name, us) => costs.set(name, [...(costs.get(name) ?? []), us / FILES])
  for (let round = 0; round <= rounds; round++) {
    const counted = strace && round === rounds
    for await (const [name, call] of procedures(client, round)) {
      const work = async () => {
        for (let n = 0; n < FILES; n++) {
          const result = await call(n)
          if (result?.status !== undefined && result.status !== 'NFS3_OK' && name !== 'LOOKUP (none)')
            throw new Error(`${name}: ${result.status}`)
        }
      }
      if (counted) {
        systemCalls.set(name, await countCalls(server.pid, folder, work))
        continue
      }
      const before = await usage()
      await work()
      // The first round warms up.
      if (round > 0) note(name, (await usage()) - before)
    }
    const before = await usage()
    await delay(2000)
    if (round > 0 && !counted) note('later', (await usage()) - before)
  }
  client.close()
  const result = [...costs].map(([name, values]) => [name, least(values)])
  if (json) console.log(JSON.stringify(Object.fromEntries(result)))
  else
    for (const [name, us] of result)
      console.log(`${name.padEnd(18)} ${us.toFixed(1).padStart(6)} µs${callsText(systemCalls.get(name))}`)
}

function callsText(calls) {
  if (calls === undefined) return ''
  const per = [...calls].map(([name, count]) => [name, count / FILES]).filter(([, count]) => count >= 0.02)
  const all = per.reduce((sum, [, count]) => sum + count, 0)
  return `  ${all.toFixed(1).padStart(5)} calls: ${per
    .sort((a, b) => b[1] - a[1])
    .map(([name, count]) => `${name} ${count.toFixed(2)}`)
    .join(', ')}`
}

if (process.argv[2] === 'serve') await serve(process.argv[3])
else {
  const { values } = parseArgs({
    options: {
      directory: { type: 'string', default: tmpdir() },
      rounds: { type: 'string', default: '9' },
      strace: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const folder = mkdtempSync(join(values.directory, 'bench-calls-'))
  const server = fork(new URL(import.meta.url), ['serve', join(folder, 'volume')], {
    execPath: 'taskset',
    execArgv: ['-c', '0', process.execPath],
  })
  const ended = new Promise((resolve) => server.once('exit', resolve))
  try {
    await measure(server, folder, { ...values, rounds: Number(values.rounds) })
  } finally {
    server.send('end')
    await ended
    rmSync(folder, { recursive: true })
  }
}
