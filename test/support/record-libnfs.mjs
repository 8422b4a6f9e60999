// Records what libnfs's tools ask our server, as a fixture for the fuzz test: `node test/support/record-libnfs.mjs`
// after `npm run build:ts`. Handles are told by path, since another server has others for the same files.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { NfsServer } from '../../dist/modes/nfs/server.js'
import { RecordAssembler } from '../../dist/rpc/onc/record-assembler.js'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'record-'))
const server = await NfsServer.start({ directory: join(folder, 'volume'), host: '127.0.0.1', port: 0 })
const calls = []
const proxy = createServer((client) => {
  const onward = connect(server.port, '127.0.0.1')
  const records = new RecordAssembler(1 << 21)
  client.on('data', (chunk) => {
    records.push(chunk)
    for (let call = records.next(); call !== undefined; call = records.next()) calls.push(Buffer.from(call))
  })
  client.pipe(onward).pipe(client)
  for (const socket of [client, onward]) socket.on('error', () => {})
})
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
const { port } = proxy.address()
const url = (path) => `nfs://127.0.0.1/export${path}?nfsport=${port}&mountport=${port}`
const local = join(folder, 'local')
writeFileSync(local, 'What libnfs sends.\n'.repeat(20))
await run('nfs-cp', [local, url('/notes')])
await run('nfs-ls', [url('')])
await run('nfs-cat', [url('/notes')])
await run('nfs-cp', [url('/notes'), join(folder, 'back')])
await run('nfs-ls', ['-R', url('')])

// The handle of what is asked for first is the root's; the other one that comes is the file's.
const handles = {}
for (const call of calls) {
  for (let at = 0; at + 40 <= call.length; at += 4) {
    if (call.readUInt32BE(at) !== 36 || call[at + 4] !== 1) continue
    const handle = call.toString('hex', at + 4, at + 40)
    handles[handle] ??= Object.keys(handles).length === 0 ? '' : 'notes'
  }
}
const fixture = { handles, calls: calls.map((call) => call.toString('hex')) }
writeFileSync(new URL('../unit/modes/nfs/libnfs-calls.json', import.meta.url), `${JSON.stringify(fixture, null, 2)}\n`)
proxy.close()
await server.close()
rmSync(folder, { recursive: true })
