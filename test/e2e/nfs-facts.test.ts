// What an NFS mount tells of itself: why a file may be stale and until when, what hangs and since when, who owns a silly
// name, and what its network is like.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Cli } from '../support/cli.ts'
import { factsOf, NfsLab, statusOf } from '../support/nfs-lab.ts'
import { run } from '../support/run.ts'

interface Cache {
  readonly validatedAt: string
  readonly validUntil: string
  readonly timeoutMs: number
  readonly believed: boolean
  readonly why: string
  readonly seen: { readonly size: number; readonly mtime: string; readonly ctime: string }
  readonly pagesCachedUnder?: Cache['seen']
  readonly opens?: number
  readonly removed?: string
}

const UNWRITTEN = `import json, os, sys
writes = lambda: json.loads(os.getxattr(sys.argv[1], 'user.proteus.writes'))
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b'five!')
before = writes()
status = json.load(open(sys.argv[2]))['details']
os.close(fd)
print(json.dumps({'before': before, 'status': status, 'after': writes()}))
`

/** Makes files as lock files and tar's are made; what fstat(2) shows, and what is there after other changes. */
const EXCLUSIVE = `import json, os, sys, time
os.umask(0o027)
at = lambda name: os.path.join(sys.argv[1], name)
make = lambda name, mode: os.open(at(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
shown = {}
def look(name, fd):
    found = os.fstat(fd)
    shown[name] = [oct(found.st_mode & 0o7777), found.st_size, abs(found.st_mtime - time.time()) < 60]
for name, mode in ('plain', 0o666), ('setid', 0o4755):
    fd = make(name, mode)
    look(name, fd)
    os.write(fd, b'data')
    look(name + ' written', fd)
    os.close(fd)
fd = make('changed', 0o666)
os.write(fd, b'data')
os.utime(fd, (1000, 2000))
os.fchmod(fd, 0o604)
os.close(fd)
fd = make('short', 0o666)
os.ftruncate(fd, 7)
os.close(fd)
fd = make('open', 0o666)
print(json.dumps(shown), flush=True)
sys.stdin.read()
`

const cacheOf = async (path: string): Promise<Cache> => JSON.parse((await factsOf(path)).cache ?? '') as Cache

describe('facts of NFS mounts', () => {
  let lab: NfsLab
  let cli: Cli
  let a: string
  let b: string

  beforeAll(async () => {
    cli = new Cli()
    lab = await NfsLab.start({ mounts: [['acregmin=60,acregmax=60'], ['timeo=5,retrans=1']] })
    ;[a, b] = lab.directories as [string, string]
  })
  afterEach(() => writeFile(join(b, '.proteus/network'), 'reset\n'))
  afterAll(async () => {
    await lab?.end()
    await cli.cleanUp()
  })

  test('the kernel reads ahead far enough for a network', async ({ skip }) => {
    if (process.geteuid?.() !== 0) skip('only root may say so')
    const device = (await run('mountpoint', ['-d', a])).trim()
    expect(await readFile(`/sys/class/bdi/${device}/read_ahead_kb`, 'utf8')).toBe('4096\n')
  })

  test('of a file: seen as, validated at, believed until, and why', async () => {
    await writeFile(join(a, 'f'), 'twelve bytes')
    const file = await open(join(a, 'f'))
    await file.readFile()
    const cache = await cacheOf(join(a, 'f'))
    expect(cache).toMatchObject({ timeoutMs: 60_000, believed: true, seen: { size: 12 }, opens: 1 })
    expect(cache.why).toMatch(/^believed for 60 s since the server was asked/)
    expect(Date.parse(cache.validUntil) - Date.parse(cache.validatedAt)).toBe(60_000)
    const { mtimeNs, ctimeNs } = await stat(join(a, 'f'), { bigint: true })
    const seconds = (ns: bigint): string => `${ns / 10n ** 9n}.${String(ns % 10n ** 9n).padStart(9, '0')}`
    expect(cache.seen).toEqual({ size: 12, mtime: seconds(mtimeNs), ctime: seconds(ctimeNs) })
    expect(cache.pagesCachedUnder).toEqual(cache.seen)
    await file.close()
  })

  test('of a stale file: what this mount has seen, until it asks again', async () => {
    await writeFile(join(b, 'g'), 'old')
    await stat(join(a, 'g'))
    const before = await cacheOf(join(a, 'g'))
    await writeFile(join(b, 'g'), 'newer')
    expect((await cacheOf(join(a, 'g'))).seen).toEqual(before.seen)
    expect(await readFile(join(a, 'g'), 'utf8')).toBe('newer')
    const after = await cacheOf(join(a, 'g'))
    expect(after.seen.size).toBe(5)
    expect(Date.parse(after.validatedAt)).toBeGreaterThanOrEqual(Date.parse(before.validatedAt))
  })

  test('of a file that was made exclusively: never what the server had in their place', async () => {
    const b2 = await lab.mount([])
    const making = spawn('python3', ['-c', EXCLUSIVE, a], { stdio: ['pipe', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(making.stdout, 'data')) as [Buffer]
      expect(JSON.parse(String(line))).toEqual({
        plain: ['0o640', 0, true],
        'plain written': ['0o640', 4, true],
        setid: ['0o4750', 0, true],
        'setid written': [expect.stringMatching(/^0o0?4?750$/), 4, true],
      })
      const seen = async (name: string) => {
        const { mode, size, mtimeMs } = await stat(join(b2, name))
        return [(mode & 0o7777).toString(8), size, mtimeMs]
      }
      expect(await seen('changed')).toEqual(['604', 4, 2_000_000])
      expect(await seen('short')).toEqual(['640', 7, expect.any(Number)])
      // Nobody has closed it, and it is told all the same.
      await expect
        .poll(() =>
          lab
            .mount([])
            .then((c) => stat(join(c, 'open')))
            .then(({ mode }) => mode & 0o777),
        )
        .toBe(0o640)
    } finally {
      making.stdin.end()
      await once(making, 'exit')
    }
  })

  test('of a file with unwritten bytes', async () => {
    // One process: where another is started, what is open is closed there, and the bytes go.
    const facts = JSON.parse(await run('python3', ['-c', UNWRITTEN, join(a, 'w'), join(a, '.proteus/status.json')]))
    expect(facts.before).toMatchObject({ dirtyBytes: 5, sentBytes: 0 })
    expect(facts.status).toMatchObject({ unwrittenBytes: 5, openFiles: 1 })
    expect(facts.after).toEqual({ dirtyBytes: 0, sentBytes: 0, uncommittedBytes: 0 })
  })

  test('of a call that hangs: which server, since when, how many retransmissions', async () => {
    await writeFile(join(b, 'h'), 'here')
    await lab.killServer()
    const before = Date.now()
    const reading = readFile(join(b, 'h'), 'utf8')
    await expect.poll(async () => (await statusOf(b)).responding, { timeout: 20_000 }).toBe(false)
    const { server, waiting, notRespondingSince = '' } = await statusOf(b)
    expect(server).toBe(lab.url.replace('nfs://', ''))
    expect(waiting).toEqual([expect.objectContaining({ op: 'NFS3.GETATTR', retransmissions: expect.any(Number) })])
    for (const since of [waiting[0]?.since ?? '', notRespondingSince]) {
      expect(Date.parse(since)).toBeGreaterThanOrEqual(before - 1000)
      expect(Date.parse(since)).toBeLessThanOrEqual(Date.now())
    }
    // The other mount has asked nothing, and knows of nothing.
    expect(await statusOf(a)).toMatchObject({ responding: true, waiting: [] })
    const shown = await readFile(join(b, '.proteus/status'), 'utf8')
    expect(shown).toMatch(/NFS3\.GETATTR/)
    await lab.startServer()
    expect(await reading).toBe('here')
    expect(await statusOf(b)).toMatchObject({ responding: true, waiting: [] })
  })

  test('proteus net shows and sets the network', async () => {
    const net = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli.run('net', b, ...args)
      expect(stderr).toBe('')
      expect(code).toBe(0)
      return stdout
    }
    await writeFile(join(b, 'n'), 'net')
    expect(await net('latency=40ms')).toContain('40')
    expect((await statusOf(b)).network).toContain('latency=40ms')
    expect(await readFile(join(b, 'n'), 'utf8')).toBe('net')
    await net('down')
    const reading = readFile(join(b, 'n'), 'utf8')
    await expect.poll(async () => (await statusOf(b)).waiting.map(({ op }) => op)).toEqual(['NFS3.GETATTR'])
    await net('up')
    expect(await reading).toBe('net')
  })

  test('of a silly name: whose it is; and orphans are found by age, and removed when asked for', async () => {
    await mkdir(join(a, 'silly'))
    const c = await lab.mount([])
    const [mine, theirs] = [await open(join(a, 'silly/mine'), 'w'), await open(join(c, 'silly/theirs'), 'w')]
    await theirs.write('left')
    await theirs.sync()
    for (const path of [join(a, 'silly/mine'), join(c, 'silly/theirs')]) await unlink(path)
    await lab.killMount(c)
    const names = await readdir(join(a, 'silly'))
    const own = (await statusOf(a)).removedWhileOpen[0]?.split(' ')[0] ?? ''
    const orphan = names.find((name) => name !== own) ?? ''
    expect((await cacheOf(join(a, 'silly', own))).removed).toBe('was mine; goes with the last close on this mount')
    expect((await cacheOf(join(a, 'silly', orphan))).removed).toBeUndefined()

    const states = async (...args: string[]) =>
      Object.fromEntries(
        (await cli.json('orphans', a, ...args)).map(({ path, state, was }) => [
          String(path).replace(/.*\//, ''),
          was ?? state,
        ]),
      )
    expect(await states()).toEqual({ [own]: 'mine', [orphan]: 'young' })
    expect(await states('--remove')).toEqual({ [own]: 'mine', [orphan]: 'young' })
    expect(await states('--older-than', '0s')).toEqual({ [own]: 'mine', [orphan]: 'orphan' })
    expect(await states('--older-than', '0s', '--remove')).toEqual({ [own]: 'mine', [orphan]: 'removed' })
    expect(await readdir(join(a, 'silly'))).toEqual([own])
    await mine.close()
    expect(await states()).toEqual({})
    await theirs.close().catch(() => undefined)
  })
})
