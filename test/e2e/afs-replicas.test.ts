// Replicas and snapshots on real mounts: read-only, new all at once when they are released, and there without the server
// that has the volume.
import { mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { AfsCell, type Served } from '../support/afs-cell.ts'
import { start } from '../support/run.ts'

let cell: AfsCell
let second: Served
let a: string
let b: string
/** A mount of the replica of root.cell, so that all in it is read from replicas. */
let m: string

beforeAll(async () => {
  cell = await new AfsCell().up('deadtime=1')
  second = await cell.serve('second', '--join', cell.first)
  ;({ a, b } = cell.cli)
  await cell.afs('create', 'docs', '--on', second.address)
  await cell.afs('mountpoint', join(a, 'docs'), 'docs')
  await cell.afs('mountpoint', join(a, '.docs'), 'docs', '--rw')
  for (const name of ['x', 'y']) await writeFile(join(a, 'docs', name), 'old')
  await cell.afs('release', 'docs', '--add-site', cell.first, '--add-site', second.address)
  await cell.afs('release', 'root.cell', '--add-site', cell.first, '--add-site', second.address)
  m = await cell.mount(`afs://${cell.first}/root.cell.readonly`, 'm', 'deadtime=1')
}, 60_000)
afterAll(() => cell?.end())

test('in a replica `#` leads to replicas and `%` to what may be changed', async () => {
  await fails(writeFile(join(m, 'new'), ''), 'EROFS')
  for (const change of [
    () => writeFile(join(m, 'docs/x'), 'no'),
    () => rm(join(m, 'docs/x')),
    () => mkdir(join(m, 'docs/d')),
  ]) {
    await fails(change(), 'EROFS')
  }
  await writeFile(join(m, '.docs/x'), 'changed')
  expect(await readFile(join(m, '.docs/x'), 'utf8')).toBe('changed')
  expect(await readFile(join(m, 'docs/x'), 'utf8')).toBe('old')
  // Where nothing is a replica there is no reason for one.
  expect(await readFile(join(b, 'docs/x'), 'utf8')).toBe('changed')
  expect((await stat(join(m, 'docs/x'))).ino).not.toBe((await stat(join(m, '.docs/x'))).ino)
})

test('a release is seen whole, and who has an older file open keeps it', async () => {
  for (const name of ['x', 'y']) {
    await writeFile(join(a, 'docs', name), 'new')
    expect(await readFile(join(m, 'docs', name), 'utf8')).toBe('old')
  }
  await writeFile(join(a, 'docs', 'z'), 'new')
  const early = await open(join(m, 'docs/x'))
  let reading = true
  const reader = (async () => {
    while (reading) {
      const x = await readFile(join(m, 'docs/x'), 'utf8')
      const y = await readFile(join(m, 'docs/y'), 'utf8')
      // What is read later is not older.
      expect(['old old', 'old new', 'new new']).toContain(`${x} ${y}`)
    }
  })()
  expect(await cell.afs('release', 'docs')).toMatchObject([{ event: 'released', failed: [] }])
  await expect.poll(() => readFile(join(m, 'docs/x'), 'utf8')).toBe('new')
  reading = false
  await reader
  expect((await readdir(join(m, 'docs'))).sort()).toEqual(['x', 'y', 'z'])
  expect((await early.read({ buffer: Buffer.alloc(3), position: 0 })).buffer.toString()).toBe('old')
  await early.close()
})

test('a snapshot is reached through a mount point of its own', async () => {
  await cell.afs('backup', 'docs')
  await cell.afs('mountpoint', join(a, 'yesterday'), 'docs.backup')
  await writeFile(join(a, 'docs/x'), 'newest')
  expect(await readFile(join(b, 'yesterday/x'), 'utf8')).toBe('new')
  await fails(writeFile(join(b, 'yesterday/x'), 'no'), 'EROFS')
  await cell.afs('backup', 'docs')
  await expect.poll(() => readFile(join(b, 'yesterday/x'), 'utf8')).toBe('newest')
})

test('without the first server, and what it knows: replicas and known volumes go on', { timeout: 60_000 }, async () => {
  for (const name of ['x', 'y']) await writeFile(join(a, 'docs', name), 'last')
  await cell.afs('release', 'docs')
  await expect.poll(() => readFile(join(m, 'docs/x'), 'utf8')).toBe('last')
  expect(await readFile(join(b, 'docs/x'), 'utf8')).toBe('last')
  cell.killFirst()
  // Not fetched before: from the other site.
  expect(await readFile(join(m, 'docs/y'), 'utf8')).toBe('last')
  expect((await readdir(m)).sort()).toEqual(['.docs', 'docs'])
  // The RW volume is on the second server.
  expect(await readFile(join(b, 'docs/y'), 'utf8')).toBe('last')
  await writeFile(join(b, 'docs/y'), 'after all')
  expect(await readFile(join(a, 'docs/y'), 'utf8')).toBe('after all')
  // A name that has to be looked up anew leads to what is known, too.
  await writeFile(join(m, '.proteus/flush'), 'all\n').catch(() => {})
  expect(await readFile(join(m, 'docs/y'), 'utf8')).toBe('last')
  // Only what was on the server that is gone has to wait for it.
  await fails(writeFile(join(a, 'new'), ''), 'ETIMEDOUT')
  const { stdout } = await start('ls', ['-la', join(m, 'docs')]).finished
  expect(stdout).toMatch(/ y$/m)
})
