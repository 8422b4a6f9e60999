// Volumes on real mounts: mount points, quotas, moves, replicas and snapshots, with a second file server of the cell.
import { link, mkdir, open, readdir, readFile, rename, rmdir, stat, statfs, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { AfsCell, type Served } from '../support/afs-cell.ts'
import { network, statusOf } from '../support/afs-lab.ts'
import { ended } from '../support/processes.ts'
import { random, seed } from '../support/random.ts'
import { start } from '../support/run.ts'

const EDQUOT = 122
const MIB = 2 ** 20

let cell: AfsCell
let second: Served
let a: string
let b: string

beforeAll(async () => {
  cell = await new AfsCell().up('deadtime=1')
  second = await cell.serve('second', '--join', cell.first)
  ;({ a, b } = cell.cli)
  await cell.afs('create', 'v', '--quota', '1m')
  await cell.afs('create', 'w', '--on', second.address)
  await cell.afs('mountpoint', join(a, 'v'), 'v')
  await cell.afs('mountpoint', join(a, 'w'), 'w')
}, 60_000)
afterAll(() => cell?.end())

const facts = async (path: string) => (await cell.cli.json('info', path))[0]?.facts as Record<string, string>

test('a volume appears at its mount point on every client', async () => {
  expect((await readdir(b)).sort()).toEqual(['v', 'w'])
  await writeFile(join(a, 'v', 'f'), 'in v')
  await writeFile(join(b, 'w', 'g'), 'in w')
  expect(await readFile(join(b, 'v', 'f'), 'utf8')).toBe('in v')
  expect(await readFile(join(a, 'w', 'g'), 'utf8')).toBe('in w')
  const numbers = await Promise.all(['', 'v', 'w', 'v/f', 'w/g'].map(async (path) => (await stat(join(b, path))).ino))
  expect(new Set(numbers).size).toBe(5)
  expect((await stat(`${b}/v/..`)).ino).toBe((await stat(b)).ino)
  const { blocks, bsize } = await statfs(join(b, 'v'))
  expect(blocks * bsize).toBe(MIB)
  expect((await statfs(join(b, 'w'))).blocks).toBeGreaterThan(blocks)
  const listed = await start('ls', ['-la', b]).finished
  expect(listed.stdout).toMatch(/^d.* v$/m)
  expect(await facts(join(b, 'w', 'g'))).toMatchObject({
    ...{ volume: 'w', cell: 'localcell', server: second.address, cell_server: cell.first },
    fid: expect.stringMatching(/^536870918\.\d+\.\d+$/),
  })
})

test('names do not lead from one volume to another, and a mount point is no directory to remove', async () => {
  for (const side of [a, b]) {
    await fails(rename(join(side, 'v/f'), join(side, 'w/f')), 'EXDEV')
    await fails(link(join(side, 'v/f'), join(side, 'w/f')), 'EXDEV')
    await fails(rmdir(join(side, 'v')), 'EBUSY')
    await fails(unlink(join(side, 'v')), 'EISDIR')
  }
  // It is a name in its directory like others.
  await rename(join(a, 'v'), join(a, 'vv'))
  expect(await readFile(join(b, 'vv/f'), 'utf8')).toBe('in v')
  await rename(join(b, 'vv'), join(b, 'v'))
  // Below itself the root of the mount cannot appear.
  await cell.afs('mountpoint', join(a, 'self'), 'root.cell')
  await fails(readdir(join(b, 'self')), 'ELOOP')
  await cell.afs('mountpoint', '--remove', join(b, 'self'))
  expect((await readdir(a)).sort()).toEqual(['v', 'w'])
})

test('who was promised what is told for a file, and for all volumes', async () => {
  for (const side of [a, b]) expect(await readFile(join(side, 'w/g'), 'utf8')).toBe('in w')
  const [file] = await cell.afs('callbacks', join(b, 'w/g'))
  expect(file).toMatchObject({ server: second.address, holders: [{}, {}], missed: [] })
  // Commands keep nothing, and are promised nothing.
  const all = await cell.afs('callbacks')
  expect(all.map(({ server, missed }) => [server, missed]).sort()).toEqual(
    [cell.first, second.address].sort().map((server) => [server, []]),
  )
})

test('a break that reached nobody is told, until the client is heard of', async () => {
  const c = await cell.mount(`afs://${cell.first}/root.cell`, 'c', 'deadtime=1')
  expect(await readFile(join(c, 'w/g'), 'utf8')).toBe('in w')
  const { pid } = JSON.parse(await readFile(join(c, '.proteus/status.json'), 'utf8')) as { pid: number }
  process.kill(pid, 'SIGKILL')
  await ended(pid)
  await writeFile(join(a, 'w/g'), 'in w')
  const [file] = await cell.afs('callbacks', join(b, 'w/g'))
  expect(file?.missed).toMatchObject([{ unreachable: true }])
  const missed = (await cell.afs('callbacks')).flatMap((server) => server.missed as { volume: string }[])
  expect(missed).toMatchObject([{ volume: 'w', unreachable: true }])
  expect((await cell.tryAfs('callbacks')).stdout).toMatch(/\(w\) may have missed \d+, since \d+ s: out of reach/)
})

test('what the quota does not allow is an error of close, the server has the old file, and the changes are kept', async () => {
  const path = join(a, 'v/large')
  await writeFile(path, 'old')
  const file = await open(path, 'w')
  await file.write(Buffer.alloc(2 * MIB, 'new'))
  await expect(file.close()).rejects.toMatchObject({ errno: -EDQUOT })
  expect(await readFile(join(b, 'v/large'), 'utf8')).toBe('old')
  const listed = { file: 'v/large', why: expect.stringMatching(/EDQUOT/), mount: a }
  await expect.poll(() => cell.afs('unstored', a)).toMatchObject([listed])
  const refused = await cell.tryAfs('unstored', '--retry', path)
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/large is not stored: .*EDQUOT.*\n$/)])
  const busy = await cell.tryAfs('flush', path)
  expect([busy.code, busy.stderr]).toEqual([1, expect.stringMatching(/stays: it is open, or changed and not stored/)])
  await cell.afs('quota', 'v', '--quota', '100m')
  const [{ key } = {}] = await cell.afs('unstored', '--retry', path)
  expect((await readFile(join(b, 'v/large'))).equals(Buffer.alloc(2 * MIB, 'new'))).toBe(true)
  expect(await cell.afs('unstored')).toEqual([])
  const again = await cell.tryAfs('unstored', '--discard', String(key))
  expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/is unstored in none of/)])
})

test('changes that are given up are gone, and the file is as the server has it', async () => {
  await cell.afs('quota', 'v', '--quota', '1k')
  const path = join(b, 'v/f')
  await expect(writeFile(path, Buffer.alloc(MIB))).rejects.toMatchObject({ errno: -EDQUOT })
  const [file] = await cell.afs('unstored', b)
  await cell.afs('unstored', '--discard', String(file?.key))
  expect(await cell.afs('unstored', b)).toEqual([])
  expect(await readFile(path, 'utf8')).toBe('in v')
  await cell.afs('quota', 'v', '--quota', 'none')
})

test('what is flushed is fetched again', async () => {
  const path = join(b, 'w/g')
  await readFile(path)
  expect(await facts(path)).toMatchObject({ cached: expect.any(String), callback: expect.stringMatching(/^promised/) })
  await cell.afs('flush', path)
  expect(Object.keys(await facts(path))).not.toContain('cached')
  const before = (await statusOf(b)).fetched.files
  expect(await readFile(path, 'utf8')).toBe('in w')
  expect((await statusOf(b)).fetched.files).toBe(before + 1)
  const held = await open(path)
  const some = await cell.tryAfs('flush', '--all', b)
  expect([some.code, some.stderr]).toEqual([1, expect.stringMatching(/what is open, or changed and not stored, stays/)])
  await held.close()
  await cell.afs('flush', '--all')
  expect((await statusOf(b)).cache.files).toBe(0)
  expect(await readFile(path, 'utf8')).toBe('in w')
  expect((await cell.tryAfs('flush')).code).toBe(2)
})

test(`a volume moves while programs use it, and they notice nothing; seed ${seed()}`, { timeout: 60_000 }, async () => {
  const pick = random(seed())
  const files = Array.from(
    { length: 40 },
    (_, n) => [`f${n}`, Buffer.alloc(Math.floor(pick() * 30_000), `${n}`)] as const,
  )
  const source = cell.cli.directory('source')
  await mkdir(join(source, 't'))
  for (const [name, bytes] of files) await writeFile(join(source, 't', name), bytes)
  const moving = join(a, 'v', 'moving')
  await mkdir(moving)
  await writeFile(join(moving, 'note'), 'note')
  const held = await open(join(moving, 'held'), 'w')
  await held.write('one ')
  const flock = start('sh', ['-c', 'exec 9< "$1"; flock 9; echo locked; exec sleep 40', 'sh', join(moving, 'note')])
  let said = ''
  flock.child.stdout?.on('data', (chunk: Buffer) => {
    said += chunk
  })
  await expect.poll(() => said).toBe('locked\n')
  const stop = join(cell.cli.folder, 'stop')
  const unpack =
    'n=0; while [ ! -e "$3" ]; do mkdir "$2/$n" && tar xf "$1" -C "$2/$n" || exit 1; n=$((n+1)); done; echo $n'
  await start('tar', ['cf', `${source}.tar`, '-C', source, 't']).finished
  const tar = start('sh', ['-c', unpack, 'sh', `${source}.tar`, moving, stop])
  let reading = true
  const reader = (async () => {
    let reads = 0
    for (; reading; reads++) {
      expect(await readFile(join(b, 'v/moving/note'), 'utf8')).toBe('note')
      await readdir(join(b, 'v/moving'))
    }
    return reads
  })()
  for (const to of [second.address, cell.first, second.address]) {
    expect(await cell.afs('move', 'v', to)).toMatchObject([{ event: 'moved', to }])
  }
  await writeFile(stop, '')
  const { code, stdout, stderr } = await tar.finished
  expect([code, stderr]).toEqual([0, ''])
  reading = false
  expect(await reader).toBeGreaterThan(0)
  await held.write('two')
  await held.close()
  expect(await readFile(join(b, 'v/moving/held'), 'utf8')).toBe('one two')
  const rounds = Number(stdout)
  expect(rounds).toBeGreaterThan(0)
  for (let round = 0; round < rounds; round++) {
    for (const [name, bytes] of files) {
      const side = (round + bytes.length) % 2 === 0 ? a : b
      expect((await readFile(join(side, `v/moving/${round}/t`, name))).equals(bytes), `${round}/${name}`).toBe(true)
    }
  }
  expect((await facts(join(b, 'v/moving/note'))).server).toBe(second.address)
  // Locks do not go along, and whoever had one is told.
  await expect.poll(async () => (await statusOf(a)).locks).toEqual({ held: 0, lost: 1 })
  expect((await start('flock', ['-n', join(b, 'v/moving/note'), 'echo', 'mine']).finished).stdout).toBe('mine\n')
  flock.child.kill('SIGKILL')
  await flock.finished
  expect((await statusOf(a)).unstored).toEqual([])
})

test('what is being fetched and stored when a volume moves is fetched and stored', { timeout: 60_000 }, async () => {
  const [old, next] = [Buffer.alloc(6 * MIB, 'old'), Buffer.alloc(6 * MIB, 'newer')]
  await writeFile(join(a, 'w/read'), old)
  await writeFile(join(a, 'w/written'), old)
  for (const side of [a, b]) await network(side, 'bandwidth=3mib')
  try {
    const reading = readFile(join(b, 'w/read'))
    const writing = writeFile(join(a, 'w/written'), next)
    for (const side of [a, b]) {
      await expect.poll(async () => (await statusOf(side)).transfers[0]?.bytes ?? 0).toBeGreaterThan(0)
    }
    await cell.afs('move', 'w', cell.first)
    expect((await reading).equals(old)).toBe(true)
    await writing
  } finally {
    for (const side of [a, b]) await network(side, 'reset')
  }
  for (const side of [a, b]) expect((await readFile(join(side, 'w/written'))).equals(next)).toBe(true)
  expect((await statusOf(a)).unstored).toEqual([])
  expect((await facts(join(a, 'w/written'))).server).toBe(cell.first)
})

test('a volume is found whose server died after it had moved away', { timeout: 60_000 }, async () => {
  const third = await cell.serve('third', '--join', cell.first)
  await cell.afs('create', 'x', '--on', third.address)
  await cell.afs('mountpoint', join(a, 'x'), 'x')
  for (const name of ['f', 'g']) await writeFile(join(a, 'x', name), name)
  expect(await readFile(join(b, 'x/f'), 'utf8')).toBe('f')
  await cell.afs('move', 'x', second.address)
  await cell.kill(third)
  expect(await readFile(join(b, 'x/g'), 'utf8')).toBe('g')
  await writeFile(join(a, 'x/f'), 'new')
  expect(await readFile(join(b, 'x/f'), 'utf8')).toBe('new')
  expect((await statusOf(a)).unstored).toEqual([])
  expect((await facts(join(a, 'x/f'))).server).toBe(second.address)
})
