import { beforeEach, describe, expect, it } from 'vitest'
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from '../../../src/posix/mode.ts'
import type { Volume } from '../../../src/store/volume.ts'
import {
  alice,
  as,
  bob,
  checkVolume,
  codeOf,
  contentOf,
  file,
  folder,
  ManualClock,
  names,
  openVolume,
  put,
  root,
  scratch,
  treeOf,
} from './volume-fixture.ts'

let directory: string
let volume: Volume
let clock: ManualClock
const move = (parent: number, name: string, newParent: number, newName: string, flags = 0, who = root) =>
  volume.rename({ parent, name, newParent, newName, flags }, who)
const at = (parent: number, name: string) => volume.lookup(parent, name, root)

beforeEach(async () => {
  directory = scratch()
  clock = new ManualClock()
  volume = await openVolume(directory, { clock })
})

describe('rename', () => {
  it('moves a file, and changes times of it and both directories', async () => {
    const a = folder(volume, 1, 'a')
    const b = folder(volume, 1, 'b')
    const f = file(volume, a, 'f')
    const before = [a, b, f].map((ino) => volume.changeOf(ino).change)
    clock.ms = Date.now() + 60_000
    move(a, 'f', b, 'g')
    expect(at(a, 'f')).toBe(undefined)
    expect(at(b, 'g')).toBe(f)
    const now = Math.floor(clock.ms / 1000)
    expect([a, b].map((ino) => volume.attributes(ino).mtime.sec)).toEqual([now, now])
    expect(volume.attributes(f).ctime.sec).toBe(now)
    expect([a, b, f].map((ino) => volume.changeOf(ino).change)).toEqual(before.map((change) => change + 1))
    await checkVolume(volume, directory)
  })

  it('moves directories with their links and parents', async () => {
    const a = folder(volume, 1, 'a')
    const b = folder(volume, 1, 'b')
    const d = folder(volume, a, 'd')
    file(volume, d, 'deep')
    move(a, 'd', b, 'd')
    expect(at(d, '..')).toBe(b)
    expect([1, a, b].map((ino) => volume.attributes(ino).nlink)).toEqual([4, 2, 3])
    move(b, 'd', b, 'e')
    expect(names(volume, d)).toEqual(['deep'])
    await checkVolume(volume, directory)
    await volume.close()
    const again = await openVolume(directory)
    expect(again.lookup(d, '..', root)).toBe(b)
    await checkVolume(again, directory)
  })

  it('replaces files and empty directories only', async () => {
    const f = file(volume, 1, 'f')
    const g = file(volume, 1, 'g')
    put(volume, g, 'old')
    put(volume, f, 'new')
    volume.hold(g, 1)
    move(1, 'f', 1, 'g')
    expect(contentOf(volume, at(1, 'g') ?? 0)).toBe('new')
    expect(contentOf(volume, g)).toBe('old')
    expect(volume.attributes(g).nlink).toBe(0)
    volume.drop(g, 1)
    const d = folder(volume, 1, 'd')
    const e = folder(volume, 1, 'e')
    file(volume, e, 'x')
    expect(codeOf(() => move(1, 'g', 1, 'd'))).toBe('EISDIR')
    expect(codeOf(() => move(1, 'd', 1, 'g'))).toBe('ENOTDIR')
    expect(codeOf(() => move(1, 'd', 1, 'e'))).toBe('ENOTEMPTY')
    move(1, 'e', 1, 'd')
    expect(at(1, 'd')).toBe(e)
    expect(codeOf(() => volume.attributes(d))).toBe('ESTALE')
    await checkVolume(volume, directory)
  })

  it('does nothing between two names of one file', async () => {
    const f = file(volume, 1, 'f')
    volume.link(f, 1, 'g', root)
    const before = treeOf(volume)
    move(1, 'f', 1, 'g')
    move(1, 'f', 1, 'f')
    expect(treeOf(volume)).toEqual(before)
    expect(codeOf(() => move(1, 'f', 1, 'g', RENAME_NOREPLACE))).toBe('EEXIST')
  })

  it('keeps a directory out of itself', () => {
    const a = folder(volume, 1, 'a')
    const b = folder(volume, a, 'b')
    const c = folder(volume, b, 'c')
    expect(codeOf(() => move(1, 'a', a, 'x'))).toBe('EINVAL')
    expect(codeOf(() => move(1, 'a', c, 'x'))).toBe('EINVAL')
    expect(codeOf(() => move(b, 'c', 1, 'a'))).toBe('ENOTEMPTY')
    expect(codeOf(() => move(1, 'a', b, 'c', RENAME_EXCHANGE))).toBe('EINVAL')
    expect(codeOf(() => move(b, 'c', 1, 'a', RENAME_EXCHANGE))).toBe('EINVAL')
    expect(codeOf(() => move(1, '.', 1, 'x'))).toBe('EINVAL')
    expect(codeOf(() => move(1, 'a', 1, '..'))).toBe('EINVAL')
  })

  it('knows absent names, foreign parents and flags', () => {
    const f = file(volume, 1, 'f')
    const d = folder(volume, 1, 'd')
    expect(codeOf(() => move(1, 'none', 1, 'x'))).toBe('ENOENT')
    expect(codeOf(() => move(f, 'x', 1, 'x'))).toBe('ENOTDIR')
    expect(codeOf(() => move(1, 'f', f, 'x'))).toBe('ENOTDIR')
    expect(codeOf(() => move(1, 'f', 1, 'x', 4))).toBe('EINVAL')
    expect(codeOf(() => move(1, 'f', 1, 'x', RENAME_EXCHANGE | RENAME_NOREPLACE))).toBe('EINVAL')
    expect(codeOf(() => move(1, 'f', 1, 'none', RENAME_EXCHANGE))).toBe('ENOENT')
    volume.hold(d, 1)
    volume.removeDirectory(1, 'd', root)
    expect(codeOf(() => move(1, 'f', d, 'x'))).toBe('ENOENT')
    volume.drop(d, 1)
    move(1, 'f', 1, 'g', RENAME_NOREPLACE)
    expect(at(1, 'g')).toBe(f)
  })

  it('exchanges files and directories', async () => {
    const a = folder(volume, 1, 'a')
    const b = folder(volume, 1, 'b')
    const d = folder(volume, a, 'd')
    file(volume, d, 'inside')
    const f = file(volume, b, 'f')
    move(a, 'd', b, 'f', RENAME_EXCHANGE)
    expect([at(a, 'd'), at(b, 'f'), at(d, '..')]).toEqual([f, d, b])
    expect([a, b].map((ino) => volume.attributes(ino).nlink)).toEqual([2, 3])
    await checkVolume(volume, directory)
    move(1, 'a', 1, 'b', RENAME_EXCHANGE)
    expect([at(1, 'a'), at(1, 'b')]).toEqual([b, a])
    move(1, 'a', 1, 'a', RENAME_EXCHANGE)
    await checkVolume(volume, directory)
  })

  it('asks for permission on both directories, and on a directory that moves', () => {
    const a = folder(volume, 1, 'a', as(alice))
    const b = folder(volume, 1, 'b', as(bob))
    file(volume, a, 'f', alice)
    expect(codeOf(() => move(a, 'f', b, 'f', 0, alice))).toBe('EACCES')
    expect(codeOf(() => move(a, 'f', a, 'g', 0, bob))).toBe('EACCES')
    volume.setAttributes(b, { mode: 0o777 }, root)
    move(a, 'f', b, 'f', 0, alice)
    folder(volume, a, 'd', root)
    expect(codeOf(() => move(a, 'd', b, 'd', 0, alice))).toBe('EACCES')
    expect(codeOf(() => move(a, 'd', a, 'e', 0, alice))).toBe(undefined)
  })
})
