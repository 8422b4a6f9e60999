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
