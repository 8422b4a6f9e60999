// Directories: making, removing, listing many names, positions, and '.' and '..'.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

export const directories: Area = {
  'a new directory is empty and has two links': async ({ p, at }) => {
    await p.mkdir(at('d'), 0o751)
    expect(await p.stat(at('d'))).toMatchObject({ mode: 0o040751, nlink: 2 })
    expect(await p.readdir(at('d'))).toEqual([])
  },

  'every subdirectory is a link of its parent': async (t) => {
    const path = await t.directory('d')
    await t.directory('d/a')
    await t.directory('d/b')
    await t.file('d/f')
    expect((await t.p.stat(path)).nlink).toBe(4)
    await t.p.rmdir(t.at('d/a'))
    await t.p.rename(t.at('d/b'), t.at('b'))
    expect((await t.p.stat(path)).nlink).toBe(2)
  },

  'mkdir refuses a name that exists, of whatever type': async (t) => {
    await t.file('f')
    await t.directory('d')
    await t.p.symlink('nowhere', t.at('l'))
    for (const name of ['f', 'd', 'l', '.', 'd/..']) await fails(t.p.mkdir(t.at(name)), 'EEXIST')
    await fails(t.p.mkdir(t.at('x/y')), 'ENOENT')
    await fails(t.p.mkdir(t.at('f/y')), 'ENOTDIR')
  },

  'rmdir removes empty directories only': async (t) => {
    await t.directory('d')
    await t.file('d/f')
    await fails(t.p.rmdir(t.at('d')), 'ENOTEMPTY', 'EEXIST')
    await fails(t.p.rmdir(t.at('d/f')), 'ENOTDIR')
    await fails(t.p.rmdir(t.at('x')), 'ENOENT')
    await fails(t.p.rmdir(t.at('d/.')), 'EINVAL')
    await t.p.unlink(t.at('d/f'))
    await t.p.rmdir(t.at('d'))
    await fails(t.p.stat(t.at('d')), 'ENOENT')
  },

  'unlink refuses a directory': async (t) => {
    await fails(t.p.unlink(await t.directory('d')), 'EISDIR', 'EPERM')
  },

  'three thousand names are all listed, once': async ({ p, at }) => {
    await p.mkdir(at('d'))
    const names = Array.from({ length: 3000 }, (_, i) => `name-${String(i).padStart(5, '0')}-${'x'.repeat(i % 40)}`)
    await Promise.all(names.map((name) => p.mknod(at(`d/${name}`), 0o100644)))
    expect(await p.readdir(at('d'))).toEqual(names)
    const all = await p.readdirAll(at('d'))
    expect(all.length).toBe(3002)
    expect(new Set(all.map(({ ino }) => ino)).size).toBeGreaterThanOrEqual(3001)
  },

  'entries carry type and inode number': async (t) => {
    await t.file('f')
    await t.directory('d')
    await t.p.symlink('x', t.at('l'))
    await t.p.mkfifo(t.at('p'))
    const types = Object.fromEntries((await t.p.readdirAll(t.dir)).map(({ name, type }) => [name, type]))
    expect(types).toMatchObject({ f: 8, d: 4, l: 10, p: 1, '.': 4, '..': 4 })
    for (const { name, ino } of await t.p.readdirAll(t.dir)) {
      if (!name.startsWith('.')) expect(ino).toBe((await t.p.lstat(t.at(name))).ino)
    }
  },

  'telldir and seekdir come back to a place': async ({ p, dir, at }) => {
    await Promise.all(Array.from({ length: 200 }, (_, i) => p.mknod(at(`f${i}`), 0o100644)))
    const stream = await p.opendir(dir)
    for (let i = 0; i < 70; i++) await p.readdirNext(stream)
    const place = await p.telldir(stream)
    const rest: (string | undefined)[] = []
    for (let entry = await p.readdirNext(stream); entry; entry = await p.readdirNext(stream)) rest.push(entry.name)
    expect(rest.length).toBe(132)
    await p.seekdir(stream, place)
    expect((await p.readdirNext(stream))?.name).toBe(rest[0])
    expect((await p.readdirNext(stream))?.name).toBe(rest[1])
    await p.rewinddir(stream)
    for (let i = 0; i < 202; i++) expect(await p.readdirNext(stream)).not.toBeNull()
    expect(await p.readdirNext(stream)).toBeNull()
  },

  'names that stay are listed exactly once while others come and go': async ({ p, dir, at }) => {
    const stay = Array.from({ length: 600 }, (_, i) => `stay${i}`)
    const go = Array.from({ length: 600 }, (_, i) => `go${i}`)
    await Promise.all([...stay, ...go].map((name) => p.mknod(at(name), 0o100644)))
    const stream = await p.opendir(dir)
    const seen: string[] = []
    for (let i = 0; ; i++) {
      const entry = await p.readdirNext(stream)
      if (entry === null) break
      seen.push(entry.name)
      if (i % 2 === 0 && i / 2 < go.length) {
        await p.unlink(at(`go${i / 2}`))
        await p.mknod(at(`new${i / 2}`), 0o100644)
      }
    }
    expect(seen.filter((name) => name.startsWith('stay')).sort()).toEqual(stay.sort())
    expect(new Set(seen).size).toBe(seen.length)
  },

  'rewinddir shows what came since': async (t) => {
    const stream = await t.p.opendir(t.dir)
    while (await t.p.readdirNext(stream));
    await t.file('late')
    await t.p.rewinddir(stream)
    const names: string[] = []
    for (let entry = await t.p.readdirNext(stream); entry; entry = await t.p.readdirNext(stream)) names.push(entry.name)
    expect(names.sort()).toEqual(['.', '..', 'late'])
  },

  "'.' and '..' lead where they should": async (t) => {
    await t.directory('d')
    await t.directory('d/e')
    const inos = await Promise.all(
      ['d', 'd/.', 'd/e/..', 'd/e/../../d'].map(async (n) => (await t.p.stat(t.at(n))).ino),
    )
    expect(new Set(inos).size).toBe(1)
    await t.directory('other')
    await t.p.rename(t.at('d/e'), t.at('other/e'))
    expect((await t.p.stat(t.at('other/e/..'))).ino).toBe((await t.p.stat(t.at('other'))).ino)
    const listed = await t.p.readdirAll(t.at('other/e'))
    expect(listed.find(({ name }) => name === '.')?.ino).toBe((await t.p.stat(t.at('other/e'))).ino)
  },

  'in a removed working directory nothing can be made': needs('unlinkedNodes', async (t) => {
    await t.p.chdir(await t.directory('d'))
    await t.p.rmdir(t.at('d'))
    await fails(t.p.open('f', O.WRONLY | O.CREAT), 'ENOENT')
    await fails(t.p.mkdir('e'), 'ENOENT')
    await fails(t.p.getcwd(), 'ENOENT')
    expect((await t.p.stat('.')).nlink).toBe(0)
    expect(await t.p.readdir('.').catch((error: { code: string }) => error.code)).toEqual([])
  }),

  'a hundred levels deep': async ({ p, dir }) => {
    let path = dir
    for (let i = 0; i < 100; i++) {
      path += `/d${i}`
      await p.mkdir(path)
    }
    await p.chdir(path)
    expect(await p.getcwd()).toBe(path)
    await p.chdir('/')
    await p.rename(`${dir}/d0/d1`, `${dir}/moved`)
    expect((await p.stat(`${dir}/moved/${path.slice(`${dir}/d0/d1/`.length)}`)).nlink).toBe(2)
  },

  'fsync of a directory': needs('sync', async (t) => {
    const fd = await t.p.open(await t.directory('d'), O.RDONLY)
    await t.file('d/f')
    await t.p.fsync(fd)
    await t.p.fdatasync(fd)
  }),

  'fsync, fdatasync and syncfs of a file': needs('sync', async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.fsync(fd)
    await t.p.fdatasync(fd)
    await t.p.syncfs(fd)
  }),
}
