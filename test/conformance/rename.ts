// rename(2) and renameat2(2): every combination of types, hard links, subtrees, open files.
import { expect } from 'vitest'
import { O, RENAME } from '../support/syscalls.ts'
import { type Area, fails, needs, type World } from './world.ts'

/** What can stand at either name; each makes itself. */
const kinds = {
  nothing: async () => {},
  file: (t: World, name: string) => t.file(name, name),
  symlink: (t: World, name: string) => t.p.symlink('target', t.at(name)),
  fifo: (t: World, name: string) => t.p.mkfifo(t.at(name)),
  empty: (t: World, name: string) => t.directory(name),
  full: async (t: World, name: string) => {
    await t.directory(name)
    await t.file(`${name}/inside`, name)
  },
}
type Kind = keyof typeof kinds

const isFolder = (kind: Kind): boolean => kind === 'empty' || kind === 'full'

/** What rename must say of a pair (POSIX rename, Linux rename(2)). */
function expectedOutcome(from: Kind, to: Kind): string {
  if (from === 'nothing') return 'ENOENT'
  if (to === 'nothing') return 'done'
  if (isFolder(from) && !isFolder(to)) return 'ENOTDIR'
  if (!isFolder(from) && isFolder(to)) return 'EISDIR'
  return to === 'full' ? 'ENOTEMPTY' : 'done'
}

const outcome = (call: Promise<void>): Promise<string> =>
  call.then(
    () => 'done',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )

const identity = async ({ p, at }: World, name: string): Promise<string> =>
  p.lstat(at(name)).then(
    ({ ino, mode }) => `${ino} ${mode}`,
    () => 'nothing',
  )

const matrix: Area = Object.fromEntries(
  (Object.keys(kinds) as Kind[]).map((from) => [
    `${from} over each kind`,
    async (t: World) => {
      for (const to of Object.keys(kinds) as Kind[]) {
        const [source, target] = [`${to}-from`, `${to}-to`]
        await kinds[from](t, source)
        await kinds[to](t, target)
        const before = [await identity(t, source), await identity(t, target)]
        const said = await outcome(t.p.rename(t.at(source), t.at(target)))
        expect(said === 'EEXIST' ? 'ENOTEMPTY' : said, `${from} over ${to}`).toBe(expectedOutcome(from, to))
        const after = [await identity(t, source), await identity(t, target)]
        expect(after, `${from} over ${to}`).toEqual(said === 'done' ? ['nothing', before[0]] : before)
      }
    },
  ]),
)

export const rename: Area = {
  ...matrix,

  'moves between directories with everything inside': async (t) => {
    await t.directory('a')
    await kinds.full(t, 'a/d')
    await t.directory('b')
    await t.p.rename(t.at('a/d'), t.at('b/e'))
    expect(await t.content(t.at('b/e/inside'))).toBe('a/d')
    expect(await t.p.readdir(t.at('a'))).toEqual([])
  },

  'onto itself and onto another link of the same file does nothing': async (t) => {
    await t.file('f', 'abc')
    await t.p.rename(t.at('f'), t.at('f'))
    await t.p.link(t.at('f'), t.at('g'))
    await t.p.rename(t.at('f'), t.at('g'))
    expect(await t.p.readdir(t.dir)).toEqual(['f', 'g'])
    expect((await t.p.stat(t.at('f'))).nlink).toBe(2)
    await t.directory('d')
    await t.p.rename(t.at('d'), t.at('d'))
  },

  'into its own subtree is EINVAL': async (t) => {
    await t.directory('d')
    await t.directory('d/e')
    await fails(t.p.rename(t.at('d'), t.at('d/x')), 'EINVAL')
    await fails(t.p.rename(t.at('d'), t.at('d/e/x')), 'EINVAL')
    await fails(t.p.rename(t.at('d'), t.at('d/e')), 'EINVAL')
    await fails(t.p.rename(t.at('d/e'), t.at('d')), 'ENOTEMPTY', 'EEXIST')
    expect(await t.p.readdir(t.at('d'))).toEqual(['e'])
  },

  "'.' and '..' cannot be renamed": async (t) => {
    await t.directory('d')
    for (const name of ['d/.', 'd/..']) {
      await fails(t.p.rename(t.at(name), t.at('e')), 'EBUSY', 'EINVAL')
      await fails(t.p.rename(t.at('d'), t.at(name)), 'EBUSY', 'EINVAL', 'EEXIST', 'ENOTEMPTY')
    }
  },

  'of a symlink moves the link, not its target': async (t) => {
    await t.file('f', 'abc')
    await t.p.symlink('f', t.at('l'))
    await t.p.rename(t.at('l'), t.at('m'))
    expect(await t.p.readlink(t.at('m'))).toBe('f')
    expect(await t.content(t.at('f'))).toBe('abc')
  },

  'a replaced file lives on in its descriptors': needs('unlinkedCount', async (t) => {
    const fd = await t.p.open(await t.file('old', 'old'), O.RDWR)
    await t.file('new', 'new')
    await t.p.rename(t.at('new'), t.at('old'))
    expect(await t.p.read(fd, 10)).toBe('old')
    await t.p.write(fd, '!')
    expect(await t.p.fstat(fd)).toMatchObject({ nlink: 0, size: 4 })
    expect(await t.content(t.at('old'))).toBe('new')
  }),

  'a renamed file stays open': async (t) => {
    const fd = await t.p.open(await t.file('f', 'abc'), O.RDWR)
    await t.p.rename(t.at('f'), t.at('g'))
    await t.p.pwrite(fd, 'X', 1)
    expect(await t.content(t.at('g'))).toBe('aXc')
  },

  'into a directory that was removed is ENOENT': async (t) => {
    await t.file('f')
    await t.p.chdir(await t.directory('d'))
    await t.p.rmdir(t.at('d'))
    await fails(t.p.rename(t.at('f'), 'f'), 'ENOENT')
    expect(await t.p.readdir(t.dir)).toEqual(['f'])
  },

  'NOREPLACE refuses any target that exists': needs('renameFlags', async (t) => {
    for (const kind of ['file', 'symlink', 'fifo', 'empty', 'full'] as const) {
      await kinds[kind](t, `${kind}-from`)
      await kinds[kind](t, `${kind}-to`)
      await fails(t.p.renameat2(t.at(`${kind}-from`), t.at(`${kind}-to`), RENAME.NOREPLACE), 'EEXIST')
      await t.p.renameat2(t.at(`${kind}-from`), t.at(`${kind}-free`), RENAME.NOREPLACE)
      await t.p.lstat(t.at(`${kind}-free`))
    }
  }),

  'EXCHANGE swaps any two': needs('renameFlags', async (t) => {
    const some = ['file', 'symlink', 'empty', 'full'] as const
    await t.directory('x')
    await t.directory('y')
    for (const [i, a] of some.entries()) {
      for (const [j, b] of some.entries()) {
        const [one, two] = [`x/${i}${j}`, `y/${i}${j}`]
        await kinds[a](t, one)
        await kinds[b](t, two)
        const before = [await identity(t, one), await identity(t, two)]
        await t.p.renameat2(t.at(one), t.at(two), RENAME.EXCHANGE)
        expect([await identity(t, two), await identity(t, one)]).toEqual(before)
      }
    }
    // Link counts follow the directories that changed their parents.
    expect((await t.p.stat(t.at('x'))).nlink).toBe(2 + 8)
    expect((await t.p.stat(t.at('y'))).nlink).toBe(2 + 8)
  }),

  'EXCHANGE needs both, and no subtree of the other': needs('renameFlags', async (t) => {
    await t.file('f')
    await fails(t.p.renameat2(t.at('f'), t.at('g'), RENAME.EXCHANGE), 'ENOENT')
    await t.directory('d')
    await t.directory('d/e')
    await fails(t.p.renameat2(t.at('d'), t.at('d/e'), RENAME.EXCHANGE), 'EINVAL')
    await fails(t.p.renameat2(t.at('d/e'), t.at('d'), RENAME.EXCHANGE), 'EINVAL', 'ENOTEMPTY')
    await fails(t.p.renameat2(t.at('f'), t.at('d'), RENAME.EXCHANGE | RENAME.NOREPLACE), 'EINVAL')
  }),
}
