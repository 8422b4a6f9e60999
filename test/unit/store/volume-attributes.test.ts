import { describe, expect, it } from 'vitest'
import type { Credentials } from '../../../src/posix/credentials.ts'
import { MAY_EXEC, MAY_READ, MAY_WRITE } from '../../../src/posix/credentials.ts'
import { S_IFREG } from '../../../src/posix/mode.ts'
import {
  alice,
  as,
  bob,
  codeOf,
  file,
  folder,
  ManualClock,
  openVolume,
  put,
  root,
  scratch,
  superuser,
} from './volume-fixture.ts'

const time = (sec: number, nsec: number) => ({ sec, nsec })

describe('chmod and chown', () => {
  it('belong to the owner and the superuser', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice))
    expect(codeOf(() => volume.setAttributes(f, { mode: 0o600 }, bob))).toBe('EPERM')
    expect(volume.setAttributes(f, { mode: 0o640 }, alice).mode).toBe(S_IFREG | 0o640)
    expect(codeOf(() => volume.setAttributes(f, { uid: 2000 }, alice))).toBe('EPERM')
    expect(codeOf(() => volume.setAttributes(f, { gid: 2000 }, alice))).toBe('EPERM')
    expect(codeOf(() => volume.setAttributes(f, { gid: 50 }, bob))).toBe('EPERM')
    expect(volume.setAttributes(f, { uid: 1000, gid: 50 }, alice).gid).toBe(50)
    expect(volume.setAttributes(f, { uid: 5, gid: 6 }, superuser)).toMatchObject({ uid: 5, gid: 6 })
  })

  it('take set-id bits away where they must', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice), 0o755)
    expect(volume.setAttributes(f, { mode: 0o6755 }, alice).mode & 0o7777).toBe(0o6755)
    expect(volume.setAttributes(f, { gid: 50 }, alice).mode & 0o7777).toBe(0o755)
    volume.setAttributes(f, { mode: 0o6745 }, root)
    // Without group execution the set-group-ID bit is no privilege.
    expect(volume.setAttributes(f, { gid: 1000 }, alice).mode & 0o7777).toBe(0o2745)
    volume.setAttributes(f, { gid: 77 }, root)
    expect(volume.setAttributes(f, { mode: 0o2755 }, alice).mode & 0o7777).toBe(0o755)
    const d = folder(volume, 1, 'd', as(alice))
    volume.setAttributes(d, { gid: 77, mode: 0o2755 }, root)
    expect(volume.setAttributes(d, { gid: 50 }, alice).mode & 0o7777).toBe(0o2755)
  })

  it('lose set-id bits to a write by another, and to truncation', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice), 0o6777)
    const content = volume.openContent(f, 1, bob)
    volume.write(content, Buffer.from('x'), 0)
    volume.closeContent(content)
    expect(volume.attributes(f).mode & 0o7777).toBe(0o777)
    volume.setAttributes(f, { mode: 0o6777 }, root)
    volume.setAttributes(f, { size: 0 }, bob)
    expect(volume.attributes(f).mode & 0o7777).toBe(0o777)
    volume.setAttributes(f, { mode: 0o6777 }, root)
    volume.killPrivileges(f)
    expect(volume.attributes(f).mode & 0o7777).toBe(0o777)
  })
})

describe('times', () => {
  it('are kept to the nanosecond, over a restart', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    const changes = { atime: time(1_000_000_001, 123_456_789), mtime: time(-5, 999_999_999) }
    const nodes = [file(volume, 1, 'f'), folder(volume, 1, 'd')]
    for (const ino of nodes) expect(volume.setAttributes(ino, changes, root)).toMatchObject(changes)
    await volume.close()
    const again = await openVolume(directory)
    for (const ino of nodes) expect(again.attributes(ino)).toMatchObject(changes)
  })

  it('are the owner’s to set, and now for who may write', async () => {
    const clock = new ManualClock()
    const volume = await openVolume(scratch(), { clock })
    const d = folder(volume, 1, 'd', as(alice), 0o777)
    const f = file(volume, 1, 'f', as(alice), 0o644)
    expect(codeOf(() => volume.setAttributes(d, { mtime: time(1, 0) }, bob))).toBe('EPERM')
    expect(codeOf(() => volume.setAttributes(d, { mtime: 'now' }, bob))).toBe('EPERM')
    expect(codeOf(() => volume.setAttributes(f, { atime: 'now', mtime: 'now' }, bob))).toBe('EACCES')
    clock.ms += 5000
    const { atime, mtime, ctime } = volume.setAttributes(d, { atime: 'now', mtime: 'now' }, bob)
    expect([atime, mtime, ctime]).toEqual(Array(3).fill(time(1_700_000_005, 0)))
    expect(volume.setAttributes(d, { mtime: time(7, 7) }, alice)).toMatchObject({ atime, mtime: time(7, 7) })
  })

  it('start as one moment', async () => {
    const volume = await openVolume()
    for (const ino of [file(volume, 1, 'f'), folder(volume, 1, 'd')]) {
      const { atime, mtime, ctime, btime } = volume.attributes(ino)
      expect([atime, mtime, ctime]).toEqual([btime, btime, btime])
    }
  })
})

describe('attributes', () => {
  it('given out never change', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f')
    const before = volume.attributes(f)
    const copy = structuredClone(before)
    volume.setAttributes(f, { mode: 0o600 }, root)
    volume.link(f, 1, 'g', root)
    put(volume, f, 'abc')
    expect(before).toEqual(copy)
    expect(volume.attributes(f)).toMatchObject({ nlink: 2, size: 3 })
  })

  it('are read again when an inode was forgotten', async () => {
    const volume = await openVolume(scratch(), { limits: { cachedInodes: 64, idleDescriptors: 4 } })
    const inos = Array.from({ length: 300 }, (_, n) => {
      const ino = file(volume, 1, `f${n}`)
      put(volume, ino, 'x'.repeat(n))
      return ino
    })
    const before = inos.map((ino) => [volume.attributes(ino), volume.changeOf(ino), volume.generation(ino)])
    expect(before.map(([a]) => (a as { size: number }).size)).toEqual(inos.map((_, n) => n))
    expect(inos.map((ino) => [volume.attributes(ino), volume.changeOf(ino), volume.generation(ino)])).toEqual(before)
  })

  it('answer access', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice), 0o640)
    volume.setAttributes(f, { gid: 50 }, root)
    const may = (who: Credentials) =>
      [MAY_READ, MAY_WRITE, MAY_EXEC].map((mask) => codeOf(() => volume.access(f, mask, who)))
    expect(may(alice)).toEqual([undefined, undefined, 'EACCES'])
    expect(may({ ...bob, groups: [50] })).toEqual([undefined, 'EACCES', 'EACCES'])
    expect(may(bob)).toEqual(['EACCES', 'EACCES', 'EACCES'])
    expect(may(superuser)).toEqual([undefined, undefined, 'EACCES'])
  })
})

describe('size', () => {
  it('changes by truncation, with permission', async () => {
    const volume = await openVolume()
    const f = file(volume, 1, 'f', as(alice))
    const d = folder(volume, 1, 'd')
    put(volume, f, 'hello')
    const { change, dataVersion } = volume.changeOf(f)
    expect(volume.setAttributes(f, { size: 2 }, alice).size).toBe(2)
    expect(volume.changeOf(f).dataVersion).toBe(dataVersion + 1)
    expect(volume.changeOf(f).change).toBeGreaterThan(change)
    expect(volume.setAttributes(f, { size: 1 << 20 }, alice)).toMatchObject({ size: 1 << 20 })
    expect(codeOf(() => volume.setAttributes(f, { size: 0 }, bob))).toBe('EACCES')
    expect(codeOf(() => volume.setAttributes(f, { size: 0 }, bob, { handleIsOpenForWrite: true }))).toBe(undefined)
    expect(codeOf(() => volume.setAttributes(d, { size: 0 }, root))).toBe('EISDIR')
    expect(codeOf(() => volume.setAttributes(f, { size: -1 }, root))).toBe('EINVAL')
    expect(codeOf(() => volume.setAttributes(f, { size: 2 ** 60 }, root))).toBe('EFBIG')
  })
})
