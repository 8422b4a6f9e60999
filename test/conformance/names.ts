// What a name and a path may be: lengths, characters, loops, and which error comes first.
import { expect } from 'vitest'
import { O } from '../support/syscalls.ts'
import { type Area, fails, needs } from './world.ts'

export const names: Area = {
  'names of 255 bytes; 256 are ENAMETOOLONG': async (t) => {
    for (const name of ['x'.repeat(255), 'ä'.repeat(127), '🐙'.repeat(63)]) {
      await t.file(name)
      await t.p.link(t.at(name), t.at('other'))
      await t.p.rename(t.at('other'), t.at(`y${name.slice(2)}`))
      await t.p.unlink(t.at(name))
      await t.p.unlink(t.at(`y${name.slice(2)}`))
    }
    const long = t.at('x'.repeat(256))
    await fails(t.p.open(long, O.WRONLY | O.CREAT), 'ENAMETOOLONG')
    await fails(t.p.mkdir(long), 'ENAMETOOLONG')
    await fails(t.p.stat(long), 'ENAMETOOLONG')
    await fails(t.p.symlink('x', t.at('ä'.repeat(128))), 'ENAMETOOLONG')
    await fails(t.p.rename(await t.file('f'), long), 'ENAMETOOLONG')
    expect(await t.p.readdir(t.dir)).toEqual(['f'])
  },

  'paths of 4096 bytes are ENAMETOOLONG': async ({ p, dir }) => {
    await fails(p.stat(`${dir}/${'x/'.repeat(2048)}x`), 'ENAMETOOLONG')
  },

  'any character but the slash and NUL': async (t) => {
    const strange = ['a b', '\n', '\\', '"\'', '*?[', '-rf', '...', '\u0001', 'ÄÖÜ', 'e\u0301', '\u00e9', '日本', '🐙']
    for (const name of strange) await t.file(name, name.length.toString())
    expect(await t.p.readdir(t.dir)).toEqual([...strange].sort())
    for (const name of strange) expect(await t.content(t.at(name))).toBe(name.length.toString())
  },

  'names differ by case and by normal form': async (t) => {
    for (const name of ['name', 'NAME', '\u00e9', 'e\u0301']) await t.file(name, name.length.toString())
    expect((await t.p.readdir(t.dir)).length).toBe(4)
  },

  'names that are not UTF-8 are EILSEQ': needs('utf8Only', async (t) => {
    for (const name of ['\udcff', 'a\udcc3', '\udced\udca0\udc80', '\udcc0\udcaf']) {
      await fails(t.p.open(t.at(name), O.WRONLY | O.CREAT), 'EILSEQ')
      await fails(t.p.mkdir(t.at(name)), 'EILSEQ')
      await fails(t.p.stat(t.at(name)), 'EILSEQ', 'ENOENT')
      await fails(t.p.rename(await t.file('f'), t.at(name)), 'EILSEQ')
      await t.p.unlink(t.at('f'))
    }
    expect(await t.p.readdir(t.dir)).toEqual([])
  }),

  'a file on the way is ENOTDIR, nothing on the way ENOENT': async (t) => {
    await t.file('f')
    for (const call of [t.p.stat, t.p.rmdir, t.p.unlink, t.p.mkdir, t.p.readlink, t.p.readdir]) {
      await fails(call(t.at('f/x')), 'ENOTDIR')
      await fails(call(t.at('nothing/x')), 'ENOENT')
    }
    await fails(t.p.open(t.at('f/'), O.RDONLY), 'ENOTDIR')
    await fails(t.p.stat(''), 'ENOENT')
  },

  'trailing slashes are for directories': async (t) => {
    await t.p.mkdir(t.at('d/'))
    await t.p.rename(t.at('d/'), t.at('e/'))
    await t.file('f')
    await fails(t.p.stat(t.at('f/')), 'ENOTDIR')
    await fails(t.p.rename(t.at('f'), t.at('g/')), 'ENOTDIR')
    await fails(t.p.open(t.at('new/'), O.WRONLY | O.CREAT), 'EISDIR', 'ENOENT')
    await fails(t.p.unlink(t.at('f/')), 'ENOTDIR')
  },

  'symlinks in a circle are ELOOP': async ({ p, at }) => {
    await p.symlink('b', at('a'))
    await p.symlink('a', at('b'))
    await p.symlink('self', at('self'))
    for (const name of ['a', 'b', 'self', 'self/x']) {
      await fails(p.stat(at(name)), 'ELOOP')
      await fails(p.open(at(name), O.RDONLY), 'ELOOP')
    }
    expect(await p.readlink(at('self'))).toBe('self')
  },

  'forty symlinks in a row are too many, thirty are not': async (t) => {
    await t.file('l0', 'end')
    for (let i = 1; i <= 45; i++) await t.p.symlink(`l${i - 1}`, t.at(`l${i}`))
    expect(await t.content(t.at('l30'))).toBe('end')
    await fails(t.p.stat(t.at('l45')), 'ELOOP')
  },

  'a name that was not there appears when it is made': async (t) => {
    for (let i = 0; i < 20; i++) {
      await fails(t.p.stat(t.at(`f${i}`)), 'ENOENT')
      await t.file(`f${i}`)
      await t.p.stat(t.at(`f${i}`))
      await t.p.unlink(t.at(`f${i}`))
      await fails(t.p.stat(t.at(`f${i}`)), 'ENOENT')
    }
  },
}
