// The global name space on a real mount: `/afs/<cell>/…` of several cells, one of which does not answer.
import { mkdir, readdir, readFile, stat, statfs, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fails } from '../conformance/world.ts'
import { AfsCell, type Served } from '../support/afs-cell.ts'
import { start } from '../support/run.ts'

let cells: AfsCell
let one: Served
let afs: string

beforeAll(async () => {
  cells = new AfsCell()
  one = await cells.serve('one', '--cell', 'one.example')
  const two = await cells.serve('two', '--cell', 'two.example')
  const three = await cells.serve('three', '--cell', 'three.example')
  await cells.kill(three)
  const lines = ['>one.example # first', one.address, '>two.example', two.address, '>three.example', three.address]
  await writeFile(join(cells.cli.folder, 'CellServDB'), lines.join('\n'))
  // As it is written: relative to where the command is given.
  afs = await cells.mount(`afs://${one.address}/`, 'afs', 'dynroot,cellservdb=CellServDB,deadtime=1')
}, 60_000)
afterAll(() => cells?.end())

test('each cell has its place, and what is in it', async () => {
  const names = ['one', 'two', 'three'].flatMap((name) => [`.${name}.example`, `${name}.example`])
  expect((await readdir(afs)).sort()).toEqual(names.sort())
  for (const name of ['one', 'two']) {
    await writeFile(join(afs, `.${name}.example`, 'f'), name)
    expect(await readFile(join(afs, `${name}.example`, 'f'), 'utf8')).toBe(name)
  }
})

test('a cell that nobody knows is not there; one that does not answer keeps nobody else waiting', async () => {
  await fails(stat(join(afs, 'four.example')), 'ENOENT')
  await fails(stat(join(afs, 'x')), 'ENOENT')
  const silent = fails(readdir(join(afs, 'three.example')), 'ETIMEDOUT')
  expect(await readFile(join(afs, 'two.example/f'), 'utf8')).toBe('two')
  await silent
})

test('the root belongs to nobody', async () => {
  await fails(writeFile(join(afs, 'f'), ''), 'EROFS')
  await fails(mkdir(join(afs, 'd')), 'EROFS')
  await fails(unlink(join(afs, 'one.example')), 'EISDIR')
  expect((await start('rmdir', [join(afs, 'one.example')]).finished).stderr).toMatch(/Device or resource busy/)
  expect((await statfs(afs)).blocks).toBe(0)
  expect((await cells.cli.json('info', afs))[0]).toMatchObject({
    facts: { volume: 'dynroot', cell_server: one.address },
  })
  // Nor is it that of the first cell.
  const made = await cells.cli.run('afs', 'mountpoint', join(afs, 'x'), 'root.cell')
  expect([made.code, made.stderr]).toEqual([1, expect.stringMatching(/the mount does not say which file .*\n$/)])
})

test('`.cell` is what may be changed, `cell` the replica when there is one', async () => {
  await cells.cli.json('afs', 'release', 'root.cell', '--server', `afs://${one.address}`)
  await writeFile(join(afs, '.one.example/f'), 'changed')
  await writeFile(join(afs, '.proteus/flush'), 'all\n')
  expect(await readFile(join(afs, '.one.example/f'), 'utf8')).toBe('changed')
  expect(await readFile(join(afs, 'one.example/f'), 'utf8')).toBe('one')
  await fails(writeFile(join(afs, 'one.example/f'), 'no'), 'EROFS')
  expect(await readFile(join(afs, 'one.example/f'), 'utf8')).toBe('one')
})

test('find sees all of it, and no number twice that is not the same file', async () => {
  const { stdout, stderr } = await start('find', [afs, '-type', 'f', '-printf', '%i %P\\n']).finished
  // It says of what does not answer that it does not, and of nothing else.
  expect(stderr.split('\n').filter((line) => !/three\.example.: Connection timed out/.test(line))).toEqual([''])
  const found = new Map(
    stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' ').reverse() as [string, string]),
  )
  expect([...found.keys()].sort()).toEqual(['.one.example/f', '.two.example/f', 'one.example/f', 'two.example/f'])
  // Cell two has no replica: both names lead to the same.
  expect(found.get('two.example/f')).toBe(found.get('.two.example/f'))
  expect(new Set(found.values()).size).toBe(3)
})

test('a database that is wrong is a mistake of the command, in one line', async () => {
  const wrong = join(cells.cli.folder, 'wrong')
  await writeFile(wrong, '>one.example\nnot an address\n')
  const url = `afs://${one.address}/`
  const made = await cells.cli.run('mount', url, 'x', '-o', 'dynroot,cellservdb=wrong')
  expect([made.code, made.stderr]).toEqual([2, 'proteus: CellServDB, line 2: "not an address" is no address\n'])
  const none = await cells.cli.run('mount', url, 'x', '-o', 'dynroot,cellservdb=nothing')
  expect([none.code, none.stderr]).toEqual([2, expect.stringMatching(/^proteus: cellservdb=.*nothing: ENOENT.*\n$/)])
})
