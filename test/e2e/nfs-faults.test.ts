// What NFS programs notice when the server dies or the network is down: a delay, and nothing else, if the mount is hard.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NfsLab, statusOf } from '../support/nfs-lab.ts'
import { random } from '../support/random.ts'
import { start } from '../support/run.ts'

const MIB = 1024 * 1024
const PIECES = 96

/** Writes pieces of 256 KiB, tells of each, and syncs at the end. */
const WRITER = `import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for n in range(int(sys.argv[2])):
  os.write(fd, str(n % 10).encode() * 262144)
  os.write(1, b'.')
os.fsync(fd)
os.close(fd)
`

describe('NFS mounts in trouble', () => {
  let lab: NfsLab
  let a: string
  let b: string

  beforeAll(async () => {
    lab = await NfsLab.start()
    ;[a, b] = lab.directories as [string, string]
  })
  afterAll(() => lab?.end())

  const network = (mount: string, setting: string): Promise<void> =>
    writeFile(join(mount, '.proteus/network'), `${setting}\n`)

  test('what was closed or fsynced survives the death of the server', async () => {
    await writeFile(join(a, 'closed'), 'closed')
    const file = await open(join(a, 'synced'), 'w')
    await file.write('synced')
    await file.sync()
    await mkdir(join(a, 'made'))
    await lab.killServer()
    await lab.startServer()
    await file.write(' and more')
    await file.close()
    expect(await readFile(join(b, 'closed'), 'utf8')).toBe('closed')
    expect(await readFile(join(b, 'synced'), 'utf8')).toBe('synced and more')
    expect(await readdir(join(b, 'made'))).toEqual([])
  })

  test('a server that is killed and started again during writes: nothing is lost, and handles stay good', async () => {
    // Another process: one that has unwritten bytes waits for the server in fork(2) and exec(2), which close descriptors.
    const writer = start('python3', ['-uc', WRITER, join(a, 'large'), String(PIECES)])
    let pieces = 0
    writer.child.stdout?.on('data', (chunk: Buffer) => {
      pieces += chunk.length
    })
    // In the midst of it: some is committed, some only written, some not sent.
    for (const part of [PIECES / 4, PIECES / 2]) {
      await expect.poll(() => pieces, { timeout: 20_000, interval: 1 }).toBeGreaterThan(part)
      await lab.killServer()
      await lab.startServer()
    }
    expect(await writer.finished).toMatchObject({ code: 0, stderr: '' })
    const content = Buffer.concat(Array.from({ length: PIECES }, (_, n) => Buffer.alloc(MIB / 4, String(n % 10))))
    expect((await readFile(join(b, 'large'))).equals(content)).toBe(true)
  })

  test('a program that has a file open goes on after the server came back', async () => {
    await writeFile(join(a, 'open'), 'abc')
    const reader = await open(join(b, 'open'))
    await lab.killServer()
    const reading = reader.read({ buffer: Buffer.alloc(3), position: 0 })
    const renaming = rename(join(a, 'open'), join(a, 'renamed'))
    await expect.poll(async () => (await statusOf(b)).waiting.map(({ op }) => op)).toContain('NFS3.READ')
    await lab.startServer()
    expect((await reading).buffer.toString()).toBe('abc')
    await renaming
    await reader.close()
  })

  test('network down: a hard mount waits, says so, and Ctrl-C ends the program that waits', async () => {
    await writeFile(join(a, 'far'), 'away')
    await network(b, 'down')
    const cat = start('cat', [join(b, 'far')])
    await expect.poll(async () => (await statusOf(b)).waiting.length).toBeGreaterThan(0)
    cat.child.kill('SIGINT')
    const [code, signal] = await once(cat.child, 'exit')
    expect([code, signal]).toEqual([null, 'SIGINT'])
    // Another one waits it out.
    const patient = start('cat', [join(b, 'far')])
    await expect.poll(async () => (await statusOf(b)).waiting.length).toBeGreaterThan(0)
    await network(b, 'up')
    expect(await patient.finished).toMatchObject({ code: 0, stdout: 'away' })
  })

  test('network down: a signal that a program lives with does not make its calls fail', async () => {
    await writeFile(join(a, 'alarm'), 'rung')
    await network(b, 'down')
    const script = `import signal, os, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
text = open(sys.argv[1]).read()
signal.setitimer(signal.ITIMER_REAL, 0)
print(text, end='')
`
    const reader = start('python3', ['-c', script, join(b, 'alarm')])
    await expect.poll(async () => (await statusOf(b)).waiting.length).toBeGreaterThan(0)
    await network(b, 'latency=100ms,up')
    expect(await reader.finished).toMatchObject({ code: 0, stdout: 'rung' })
    await network(b, 'reset')
  })

  test('network down while there is something to write: the program can be killed, and the bytes come later', async () => {
    await writeFile(join(a, 'late'), '')
    const script =
      'import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY)\nos.write(fd, b"late")\nprint("written", flush=True)\nsys.stdin.read()\nos.close(fd)\n'
    const writer = spawn('python3', ['-c', script, join(a, 'late')], { stdio: 'pipe' })
    const exited = once(writer, 'exit')
    await once(writer.stdout, 'data')
    await network(a, 'down')
    writer.stdin.end()
    await expect.poll(async () => (await statusOf(a)).waiting.map(({ op }) => op)).toEqual(['NFS3.WRITE'])
    writer.kill('SIGINT')
    expect(await exited).toEqual([null, 'SIGINT'])
    await network(a, 'up')
    await expect.poll(() => readFile(join(b, 'late'), 'utf8')).toBe('late')
  })

  test('soft: a call fails with ETIMEDOUT', async () => {
    const mount = await lab.mount(['soft', 'timeo=2', 'retrans=1'])
    await writeFile(join(a, 'soft'), 'soft')
    await network(mount, 'down')
    await expect(stat(join(mount, 'soft'))).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await network(mount, 'up')
    expect(await readFile(join(mount, 'soft'), 'utf8')).toBe('soft')
  })

  test('soft: what could not be written is an error of close', async () => {
    const mount = await lab.mount(['soft', 'timeo=2', 'retrans=1'])
    await writeFile(join(mount, 'unwritten'), '')
    const file = await open(join(mount, 'unwritten'), 'r+')
    await file.write('lost')
    await network(mount, 'down')
    await expect(file.close()).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await network(mount, 'up')
    // The kernel does not go on showing what the server never got.
    await expect.poll(() => readFile(join(mount, 'unwritten'), 'utf8')).toBe('')
  })

  test('appends between kills of the server: the other mount reads what was closed', async () => {
    const pick = random(20_261)
    const path = join(a, 'model')
    let model = ''
    await writeFile(path, '')
    for (let round = 0; round < 12; round++) {
      const text = `${round}:${'x'.repeat(Math.floor(pick() * 5000))}\n`
      await appendFile(path, text)
      model += text
      if (pick() < 0.3) {
        await lab.killServer()
        await lab.startServer()
      }
      expect(await readFile(join(b, 'model'), 'utf8')).toBe(model)
    }
  })
})
