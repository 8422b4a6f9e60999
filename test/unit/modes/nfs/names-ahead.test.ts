import { expect, test } from 'vitest'
import { type NameAhead, NamesAhead } from '../../../../src/modes/nfs/names-ahead.ts'
import type { Fattr3 } from '../../../../src/modes/nfs/nfs3-types.ts'
import type { ChangeAttributes } from '../../../../src/vfs/change-attributes.ts'

const DIRECTORY = 3

const state = (n: number): ChangeAttributes => ({ size: 1, mtime: { sec: n, nsec: 0 }, ctime: { sec: n, nsec: 0 } })

function fattr(n: number): Fattr3 {
  const time = { seconds: n, nseconds: 0 }
  const rdev = { specdata1: 0, specdata2: 0 }
  const fixed = { type: 'NF3DIR', mode: 0, nlink: 1, uid: 0, gid: 0, used: 0, rdev, fsid: 1n, fileid: 1 } as const
  return { ...fixed, size: 1, atime: time, mtime: time, ctime: time }
}

function stage(...names: string[]) {
  const ahead = new NamesAhead()
  const put = (name: string, n = 1) => {
    const request = { order: 1, sentMs: 1000 }
    const found: NameAhead = { object: Buffer.from(name), attributes: fattr(9), directory: fattr(n), request }
    ahead.put(DIRECTORY, name, found)
  }
  const take = (name: string, n: number | undefined = 1, since = 0) =>
    ahead.take(DIRECTORY, name, n === undefined ? undefined : state(n), since)?.object.toString()
  ahead.begin(DIRECTORY)
  for (const name of names) put(name)
  return { ahead, put, take }
}

const update = { node: DIRECTORY, adopted: true } as const

test('a name is told once, and only of the directory that was looked through', () => {
  const { ahead, take } = stage('a', 'b')
  expect([take('a'), take('a'), take('c')]).toEqual(['a', undefined, undefined])
  ahead.begin(DIRECTORY + 1)
  expect(take('b')).toBe(undefined)
})

test('a name is not told when its attributes, or the directory’s, are not to be believed', () => {
  const { ahead, take } = stage('a', 'b')
  expect(take('a', 1, 1000)).toBe(undefined)
  expect(ahead.take(DIRECTORY, 'b', undefined, 0)).toBe(undefined)
  expect(take('b', 2)).toBe(undefined)
})

test('names stay through our own changes, but for those that we changed', () => {
  const { ahead, put, take } = stage('a', 'b')
  ahead.update({ ...update, change: 'own', from: state(1), to: state(2) })
  ahead.changed(DIRECTORY, 'a')
  // What was listed before that is not believed.
  put('a', 1)
  expect([take('a', 2), take('b', 2)]).toEqual([undefined, 'b'])
})

test('a change by somebody else ends it', () => {
  const { ahead, take } = stage('a')
  ahead.update({ ...update, change: 'foreign', from: state(1), to: state(2) })
  ahead.update({ ...update, change: 'foreign', from: state(2), to: state(1) })
  expect(take('a', 1)).toBe(undefined)
})
