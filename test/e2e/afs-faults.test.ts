// What AFS programs notice when a client or the server dies, when the network is down, and when the cache is small: nothing
// that was closed is lost, no file is ever a mix, and what is stale is so for as long as was promised.
import { mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { AfsLab, callsOf, network, statusOf } from '../support/afs-lab.ts'
import { random, seed } from '../support/random.ts'
import { start } from '../support/run.ts'

const MIB = 1024 * 1024

/** Writes and closes numbered files, and says which were closed. */
const WRITER = `import os, sys
folder, tag = sys.argv[1:]
for n in range(100000):
  with open(f'{folder}/{n % 20}', 'w') as file: file.write(f'{tag} {n} ' * (n * 37 % 3000 + 1))
  print(n, flush=True)
`
const written = (tag: string, n: number): string => `${tag} ${n} `.repeat(((n * 37) % 3000) + 1)

describe('AFS processes that die', () => {
  let lab: AfsLab
  let a: string
  let b: string

  beforeAll(async () => {
    lab = await AfsLab.start()
    ;[a, b] = lab.directories as [string, string]
  })
  afterAll(() => lab?.end())

  const restartServer = async (): Promise<void> => {
    await lab.killServer()
    await lab.startServer()
  }
  const restartMount = async (directory: string): Promise<void> => {
    await lab.killMount(directory)
    await lab.mountAgain(directory)
  }

  test('a server that begins anew: promises are void, and changes are seen', async () => {
    await writeFile(join(a, 'f'), 'one')
    const early = await open(join(b, 'f'))
    expect(await readFile(join(b, 'f'), 'utf8')).toBe('one')
    await lab.killServer()
    // What is promised is there without the server.
    expect(await readFile(join(b, 'f'), 'utf8')).toBe('one')
    await lab.startServer()
    await writeFile(join(a, 'f'), 'two')
    await expect.poll(() => readFile(join(b, 'f'), 'utf8')).toBe('two')
    await writeFile(join(a, 'f'), 'three')
    expect(await readFile(join(b, 'f'), 'utf8')).toBe('three')
    expect((await early.read({ buffer: Buffer.alloc(3), position: 0 })).buffer.toString()).toBe('one')
    await early.close()
  })

  test('a client that is killed finds its cache again', async () => {
    const folder = join(a, 'warm')
    await mkdir(folder)
    for (let n = 0; n < 5; n++) await writeFile(join(folder, `${n}`), `content ${n}`)
    const read = async () => {
      for (let n = 0; n < 5; n++) expect(await readFile(join(b, 'warm', `${n}`), 'utf8')).toBe(`content ${n}`)
    }
    await read()
    await writeFile(join(folder, '3'), 'content 3')
    await stat(join(b, 'warm'))
    // Rows of what was fetched are written a moment later.
    await sleep(600)
    await restartMount(b)
    const calls = await callsOf(b, read)
    expect(calls.FetchData).toBe(1)
    expect(await callsOf(b, read)).toEqual({})
  })

  test('a damaged cached file is fetched again', async () => {
    const content = Buffer.alloc(100_000, 'sound')
    await writeFile(join(a, 'sound'), content)
    expect((await readFile(join(b, 'sound'))).equals(content)).toBe(true)
    await sleep(600)
    const [newest = ''] = await lab.cachedFiles(b)
    await lab.killMount(b)
    expect((await readFile(newest)).equals(content)).toBe(true)
    await writeFile(newest, Buffer.alloc(100_000, 'rotten'))
    await lab.mountAgain(b)
    expect((await readFile(join(b, 'sound'))).equals(content)).toBe(true)
  })

  for (const [victim, percent] of [
    ['client', 5],
    ['client', 99],
    ['server', 60],
    ['server', 99],
  ] as const) {
    test(`kill -9 of the ${victim} when ${percent}% of a store has left: old or new, whole, and then new`, async () => {
      const name = `${victim}${percent}`
      const [before, after] = [Buffer.alloc(3 * MIB, 'old'), Buffer.alloc(4 * MIB, 'newer')]
      await writeFile(join(a, name), before)
      await network(a, 'bandwidth=4mib')
      const writing = writeFile(join(a, name), after).catch(({ code }) => code as string)
      const done = async () => (await statusOf(a)).transfers[0]?.percent ?? 0
      await expect.poll(done, { interval: 10, timeout: 10_000 }).toBeGreaterThanOrEqual(percent)
      if (victim === 'server') await lab.killServer()
      else await lab.killMount(a)
      if (victim === 'server') await lab.startServer()
      const now = await readFile(join(b, name))
      expect(now.equals(before) || now.equals(after)).toBe(true)
      if (victim === 'server') await network(a, 'reset')
      // Whoever waits for a server that comes again notices nothing else.
      if (victim === 'server') expect(await writing).toBeUndefined()
      else await writing
      if (victim === 'client') await lab.mountAgain(a)
      await expect.poll(async () => (await readFile(join(b, name))).equals(after), { timeout: 10_000 }).toBe(true)
      expect((await statusOf(a)).unstored).toEqual([])
      expect((await readFile(join(a, name))).equals(after)).toBe(true)
    })
  }

  test(`what was closed is there, whoever is killed; seed ${seed()}`, { timeout: 60_000 }, async () => {
    const pick = random(seed())
    for (let round = 0; round < 4; round++) {
      const tag = `round${round}`
      const folder = join(a, tag)
      await mkdir(folder)
      const writer = start('python3', ['-c', WRITER, folder, tag])
      let said = ''
      writer.child.stdout?.on('data', (chunk: Buffer) => {
        said += chunk
      })
      const least = 5 + pick() * 60
      await expect.poll(() => said.split('\n').length, { interval: 2, timeout: 20_000 }).toBeGreaterThan(least)
      await sleep(pick() * 5)
      const serverToo = round % 3 === 2
      const closed = (): number => said.split('\n').length - 2
      if (round % 3 !== 1) await lab.killMount(a)
      else {
        const before = closed()
        await restartServer()
        // It goes on: nobody was told of anything.
        const goesOn = () => closed() > before + 5 || writer.child.exitCode !== null
        await expect.poll(goesOn, { timeout: 20_000 }).toBe(true)
        expect(closed(), writer.child.exitCode === null ? '' : (await writer.finished).stderr).toBeGreaterThan(
          before + 5,
        )
        await lab.killMount(a)
      }
      if (serverToo) await restartServer()
      await writer.finished
      const last = closed()
      await lab.mountAgain(a)
      for (const mount of [b, a]) {
        for (let n = Math.max(0, last - 18); n <= last; n++) {
          const content = await readFile(join(mount, tag, `${n % 20}`), 'utf8')
          // The one after the last may have been stored and not acknowledged, or be half written here: not this one.
          expect(content === written(tag, n), `${mount}: ${tag}/${n % 20} is ${content.slice(0, 40)}`).toBe(true)
        }
      }
    }
  })
})

describe('an AFS client without a network', () => {
  let lab: AfsLab
  let a: string
  let b: string
  let lifeMs = 3_600_000
  let count = 0

  beforeAll(async () => {
    lab = await AfsLab.start({ mounts: [[], ['deadtime=1']], here: { breakTimeoutMs: 300, life: () => lifeMs } })
    ;[a, b] = lab.directories as [string, string]
  })
  afterEach(async () => {
    await network(b, 'reset')
    await expect.poll(async () => (await statusOf(b)).servers[0]?.responding, { timeout: 10_000 }).toBe(true)
  })
  afterAll(() => lab?.end())

  async function folder(): Promise<[inA: string, inB: string]> {
    const name = `t${++count}`
    await mkdir(join(a, name))
    return [join(a, name), join(b, name)]
  }

  test('what is promised is served, stale for as long; the rest is ETIMEDOUT; when it heals, nothing is stale', async () => {
    const [inA, inB] = await folder()
    for (const name of ['cached', 'not']) await writeFile(join(inA, name), 'one')
    expect(await readFile(join(inB, 'cached'), 'utf8')).toBe('one')
    await network(b, 'down')
    // Whoever changes it waits for the break, and goes on without.
    await writeFile(join(inA, 'cached'), 'two')
    expect(await readFile(join(inB, 'cached'), 'utf8')).toBe('one')
    await expect(readFile(join(inB, 'not'))).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await expect(writeFile(join(inB, 'new'), '')).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect((await statusOf(b)).servers).toMatchObject([{ responding: false, dead: true }])
    expect(await readFile(join(inB, 'cached'), 'utf8')).toBe('one')
    await network(b, 'up')
    await expect.poll(() => readFile(join(inB, 'cached'), 'utf8'), { timeout: 10_000 }).toBe('two')
    expect(await readFile(join(inB, 'not'), 'utf8')).toBe('one')
    expect((await statusOf(b)).servers).toMatchObject([{ responding: true }])
  })

  test('what a client writes meanwhile is an error of close, is kept, and is stored when the server answers', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one')
    const file = await open(join(inB, 'f'), 'r+')
    await file.write('two')
    await network(b, 'down')
    await expect(file.close()).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await expect.poll(async () => (await statusOf(b)).unstored.length).toBe(1)
    await network(b, 'up')
    await expect.poll(() => readFile(join(inA, 'f'), 'utf8'), { timeout: 10_000 }).toBe('two')
    await expect.poll(() => readFile(join(inB, 'f'), 'utf8')).toBe('two')
    expect((await statusOf(b)).unstored).toEqual([])
  })

  test('what others have stored since is not overwritten by what was left behind', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    const file = await open(join(inB, 'f'), 'r+')
    await file.write('left')
    await network(b, 'down')
    await expect(file.close()).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await writeFile(join(inA, 'f'), 'theirs')
    await network(b, 'up')
    await expect.poll(() => readFile(join(inB, 'f'), 'utf8'), { timeout: 10_000 }).toBe('theirs')
    await expect
      .poll(async () => (await statusOf(b)).unstored)
      .toMatchObject([{ why: expect.stringContaining('others have stored'), next: 'kept until it is given up' }])
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('theirs')
  })

  test('a promise runs out: nobody believes longer', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    lifeMs = 1500
    try {
      expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one')
      await network(b, 'down')
      await writeFile(join(inA, 'f'), 'two')
      await sleep(1500)
      await expect(stat(join(inB, 'f'))).rejects.toMatchObject({ code: 'ETIMEDOUT' })
      await expect(readdir(inB)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    } finally {
      lifeMs = 3_600_000
      await network(b, 'up')
    }
    await expect.poll(() => readFile(join(inB, 'f'), 'utf8').catch(() => ''), { timeout: 10_000 }).toBe('two')
  })

  test('a promise that has run out is asked for again, and costs no fetch if nothing has changed', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    lifeMs = 500
    try {
      await readFile(join(inB, 'f'))
      await sleep(600)
      const calls = await callsOf(b, () => readFile(join(inB, 'f')))
      expect(calls.FetchData).toBeUndefined()
      expect(Object.keys(calls).length).toBeGreaterThan(0)
    } finally {
      lifeMs = 3_600_000
    }
  })

  describe('with a small cache', () => {
    let small: string

    beforeAll(async () => {
      small = await lab.mount(['cachesize=1M', 'deadtime=1'])
    })

    test('what does not fit is ENOSPC, what was not used for long makes room', async () => {
      const [inA] = await folder()
      const inSmall = join(small, `t${count}`)
      await writeFile(join(inA, 'large'), Buffer.alloc(2 * MIB))
      await expect(readFile(join(inSmall, 'large'))).rejects.toMatchObject({ code: 'ENOSPC' })
      for (let n = 0; n < 15; n++) {
        await writeFile(join(inA, `${n}`), Buffer.alloc(100_000, `${n}`))
        expect((await readFile(join(inSmall, `${n}`))).equals(Buffer.alloc(100_000, `${n}`))).toBe(true)
        expect((await statusOf(small)).cache.bytes).toBeLessThanOrEqual(MIB)
      }
      expect(await callsOf(small, () => readFile(join(inSmall, '14')))).toEqual({})
      expect(await callsOf(small, () => readFile(join(inSmall, '0')))).toEqual({ FetchData: 1 })
    })

    test('what is not stored is not what makes room', async () => {
      const [inA] = await folder()
      const inSmall = join(small, `t${count}`)
      for (let n = 0; n < 10; n++) await writeFile(join(inA, `${n}`), Buffer.alloc(150_000, `${n}`))
      const files = [await open(join(inSmall, 'one'), 'w'), await open(join(inSmall, 'two'), 'w')]
      for (const file of files) await file.write(Buffer.alloc(300_000, 'mine'))
      await network(small, 'down')
      for (const file of files) await expect(file.close()).rejects.toMatchObject({ code: 'ETIMEDOUT' })
      await expect.poll(async () => (await statusOf(small)).unstored.length).toBe(2)
      await network(small, 'up')
      for (let n = 0; n < 10; n++) {
        await expect
          .poll(() =>
            readFile(join(inSmall, `${n}`)).then(
              ({ length }) => length,
              () => 0,
            ),
          )
          .toBe(150_000)
      }
      for (const name of ['one', 'two']) {
        const mine = Buffer.alloc(300_000, 'mine')
        await expect.poll(async () => (await readFile(join(inA, name))).equals(mine), { timeout: 10_000 }).toBe(true)
      }
      expect((await statusOf(small)).unstored).toEqual([])
      await rm(inA, { recursive: true })
    })
  })
})
