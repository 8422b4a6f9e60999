// Clients that others wrote against our NFS server: libnfs-utils of Debian.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NfsProcess } from '../support/nfs-process.ts'
import { random, seed } from '../support/random.ts'
import { run, start } from '../support/run.ts'
import { scratch } from '../support/targets.ts'

const MIB = 1 << 20
const library = fileURLToPath(new URL('../support/libnfs.py', import.meta.url))
const lockLibrary = fileURLToPath(new URL('../support/libnfs-locks.py', import.meta.url))

let folder: string
let program: string
let server: NfsProcess

beforeAll(async () => {
  folder = scratch('libnfs')
  mkdirSync(folder, { recursive: true })
  program = await NfsProcess.program(folder)
  server = await NfsProcess.start(program, { directory: join(folder, 'volume'), port: 0 })
})
afterAll(() => server.kill())

let fetches = 0

const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** A file of pseudo-random bytes. */
function local(name: string, bytes: number): { readonly path: string; readonly sum: string } {
  const next = random(seed() + bytes)
  const words = Uint32Array.from({ length: Math.ceil(bytes / 4) }, () => next() * 2 ** 32)
  const content = Buffer.from(words.buffer).subarray(0, bytes)
  const path = join(folder, name)
  writeFileSync(path, content)
  return { path, sum: sum(content) }
}

const put = (path: string, remote: string) => run('nfs-cp', [path, server.url(remote)])

async function fetched(remote: string): Promise<string> {
  const path = join(folder, `fetched${fetches++}`)
  await run('nfs-cp', [server.url(remote), path])
  return sum(readFileSync(path))
}

/** Names of a listing: the last column. */
const list = async (remote = '', args: string[] = []): Promise<string[]> =>
  (await run('nfs-ls', [...args, server.url(remote)]))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/^\S+\s+\d+\s+\d+\s+\d+\s+\d+ /, ''))

describe(`libnfs (seed ${seed()})`, () => {
  it('puts, lists, prints, gets and overwrites', async () => {
    const first = local('first', 100_001)
    await put(first.path, '/file')
    expect(await list()).toEqual(['file'])
    expect(await fetched('/file')).toBe(first.sum)
    // nfs-cp makes new files only.
    expect((await start('nfs-cp', [first.path, server.url('/file')]).finished).stderr).toContain('NFS3ERR_EXIST')
    await run('python3', [library, 'overwrite', server.url('/file'), 'Grüße\n'])
    expect(await run('nfs-cat', [server.url('/file')])).toBe('Grüße\n')
    writeFileSync(join(folder, 'empty'), '')
    await put(join(folder, 'empty'), '/empty')
    expect(await run('nfs-cat', [server.url('/empty')])).toBe('')
    const { code } = await start('nfs-cat', [server.url('/none')]).finished
    expect(code).not.toBe(0)
  })

  it('moves 64 MiB', async () => {
    const large = local('large', 64 * MIB)
    await put(large.path, '/large')
    expect(await fetched('/large')).toBe(large.sum)
  })

  it('takes names in UTF-8', async () => {
    const small = local('small', 10)
    for (const name of ['Grüße.txt', '日本語', '🙂']) {
      await put(small.path, `/${name}`)
      expect(await fetched(`/${name}`)).toBe(small.sum)
    }
    expect(await list()).toEqual(expect.arrayContaining(['Grüße.txt', '日本語', '🙂']))
  })
})

describe('libnfs and many files', () => {
  it('lists two thousand, and what lies below', async () => {
    await run('python3', [library, 'fill', server.url('/many'), '2000'])
    await run('python3', [library, 'fill', server.url('/many/more'), '3'])
    const files = Array.from({ length: 2000 }, (_, n) => `file${n}`)
    expect((await list('/many')).toSorted()).toEqual([...files, 'more'].toSorted())
    const below = await list('', ['-R'])
    expect(below.filter((name) => name.includes('more')).map((name) => name.replace(/.*\//, ''))).toHaveLength(4)
    expect(below.length).toBeGreaterThan(2004)
  })
})

describe('libnfs and locks', () => {
  const locks = async (at: NfsProcess, ...commands: string[]) =>
    (await run('python3', [lockLibrary, at.url('/any'), String(at.port), ...commands])).trim().split('\n')

  it('locks, tests, waits, cancels, unlocks', async () => {
    const answers = await locks(
      server,
      'lock,a,1,10,5',
      'lock,b,1,14,1',
      'test,b,1,0,0',
      'wait,b,1,0,0',
      'wait,b,1,0,0',
      'cancel,b,1,0,0',
      'cancel,b,1,0,0',
      'wait,b,2,12,1',
      'unlock,a,1,0,0',
      'wait,b,2,12,1',
      'test,a,1,0,0',
      'unlock,b,2,12,1',
      'test,a,1,0,0',
      'lock,a,1,18446744073709551615,1',
      'reclaim,a,1,0,1',
    )
    expect(answers).toEqual([
      'NLM4_GRANTED',
      'NLM4_DENIED',
      'NLM4_DENIED 1 1 a/1 10 5',
      'NLM4_BLOCKED',
      'NLM4_BLOCKED',
      'NLM4_GRANTED',
      'NLM4_DENIED',
      'NLM4_BLOCKED',
      'NLM4_GRANTED',
      // Nobody can be called back here: it hears so when it asks again.
      'NLM4_GRANTED',
      'NLM4_DENIED 1 2 b/2 12 1',
      'NLM4_GRANTED',
      'NLM4_GRANTED',
      'NLM4_FBIG',
      'NLM4_DENIED_GRACE_PERIOD',
    ])
  })

  it('reclaims what it had when the server was killed', async () => {
    const directory = join(folder, 'locks')
    const first = await NfsProcess.start(program, { directory, port: 0 })
    try {
      expect(await locks(first, 'lock,a,1,0,1')).toEqual(['NLM4_GRANTED'])
    } finally {
      await first.kill()
    }
    const locking = { graceMs: 600_000 }
    const second = await NfsProcess.start(program, { directory, port: first.port, locking })
    try {
      const answers = await locks(second, 'lock,b,1,0,0', 'reclaim,b,1,0,0', 'reclaim,a,1,0,1', 'test,b,1,0,0')
      expect(answers).toEqual(['NLM4_DENIED_GRACE_PERIOD', 'NLM4_DENIED', 'NLM4_GRANTED', 'NLM4_DENIED_GRACE_PERIOD'])
    } finally {
      await second.kill()
    }
  })
})

describe('libnfs and a server that dies', () => {
  it('finishes a copy when the server is killed between WRITE and COMMIT and comes back', async () => {
    const directory = join(folder, 'mortal')
    const mortal = await NfsProcess.start(program, { directory, port: 0, dieAfterWrites: 5 })
    const file = local('copied', 16 * MIB)
    const copy = start('nfs-cp', [file.path, mortal.url('/copied')])
    await mortal.ended
    const reborn = await NfsProcess.start(program, { directory, port: mortal.port })
    try {
      const { code, stderr } = await copy.finished
      expect(stderr).toBe('')
      expect(code).toBe(0)
      const back = join(folder, 'back')
      await run('nfs-cp', [reborn.url('/copied'), back])
      expect(sum(readFileSync(back))).toBe(file.sum)
    } finally {
      await reborn.kill()
    }
  })
})
