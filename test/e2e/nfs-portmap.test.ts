// Clients that are told no ports find our server through its portmapper. That listens on one fixed port, so the server has
// a network of its own, which clients join. That takes root.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proteusMain } from '../support/cli.ts'
import { Daemon } from '../support/daemon.ts'
import { run, start } from '../support/run.ts'
import { scratch } from '../support/targets.ts'

function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'a network of its own needs root'
  const { status, stderr } = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' })
  if (status !== 0) return `no namespaces here: ${stderr}`
  return undefined
}

const why = whyNot()
const noRpcinfo = spawnSync('sh', ['-c', 'command -v rpcinfo']).status === 0 ? undefined : 'rpcinfo is not installed'

describe('a server with a portmapper', () => {
  const folder = scratch('portmap')
  let server: Daemon | undefined

  beforeAll(async () => {
    if (why !== undefined) return
    const script = 'ip link set lo up || ifconfig lo up; exec "$@"'
    const serve = [process.execPath, proteusMain, 'serve', 'nfs', '--json', '--portmap', '--data', join(folder, 'data')]
    const args = ['--net', 'sh', '-c', script, 'sh', ...serve]
    server = await Daemon.start({ program: 'unshare', args, folder, mounts: [], logs: [], announcesReady: true })
    writeFileSync(join(folder, 'file'), 'found\n')
  })
  afterAll(() => server?.kill())

  /** A program in the server's network. */
  function there(program: string, ...args: string[]): Promise<string> {
    const [, pid = ''] = /"pid":(\d+)/.exec(server?.announcement ?? '') ?? []
    return run('nsenter', ['-t', pid, '-n', '--', program, ...args])
  }

  test('libnfs finds it', async ({ skip }) => {
    if (why !== undefined) skip(why)
    await there('nfs-cp', join(folder, 'file'), 'nfs://127.0.0.1/export/file')
    expect(await there('nfs-cat', 'nfs://127.0.0.1/export/file')).toBe('found\n')
    expect(await there('nfs-ls', '-D', 'nfs://127.0.0.1')).toContain('/export')
  })

  test('rpcinfo lists it, in all versions of the protocol', async ({ skip }) => {
    const lacking = why ?? noRpcinfo
    if (lacking !== undefined) skip(lacking)
    const list = await there('rpcinfo', '-p', '127.0.0.1')
    for (const line of [
      /100000 +2 +tcp +111/,
      /100003 +3 +tcp +\d+ +nfs/,
      /100005 +3 +udp +\d+ +mountd/,
      /100021 +4 +tcp +\d+ +nlockmgr/,
      /100024 +1 +udp +\d+ +status/,
    ]) {
      expect(list).toMatch(line)
    }
    expect(await there('rpcinfo', '127.0.0.1')).toMatch(/100003 +3 +tcp +127\.0\.0\.1\.\d+\.\d+ +nfs +proteus/)
    expect(await there('rpcinfo', '-T', 'tcp', '127.0.0.1', '100003', '3')).toContain('ready and waiting')
    expect(await there('rpcinfo', '-T', 'udp', '127.0.0.1', '100005', '3')).toContain('ready and waiting')
  })
})

test('a port that is taken is said', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => other.once('listening', resolve))
  const { port } = other.address() as { port: number }
  try {
    const args = ['serve', 'nfs', '--data', join(scratch('portmap-taken'), 'data'), `--portmap=${port}`]
    const { code, stderr } = await start(process.execPath, [proteusMain, ...args]).finished
    expect(stderr).toBe(`proteus: no portmapper on port ${port}: another portmapper (rpcbind) is there\n`)
    expect(code).toBe(1)
  } finally {
    other.close()
  }
})
