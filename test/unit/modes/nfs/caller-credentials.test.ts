import { expect, test } from 'vitest'
import { CallerCredentials } from '../../../../src/modes/nfs/caller-credentials.ts'
import { CredentialReader } from '../../../../src/rpc/onc/auth.ts'

const read = (credential: ReturnType<CallerCredentials['of']>) => new CredentialReader().read(credential)

test('a caller comes with user, group and supplementary groups, which are read once', () => {
  let now = 0
  let asked = 0
  const groupsOf = (): number[] => {
    asked++
    return [4, 24, 27]
  }
  const callers = new CallerCredentials({ now: () => now, groupsOf })
  const alice = { uid: 1000, gid: 100, pid: 7 }
  expect(read(callers.of(alice))).toMatchObject({ flavor: 'AUTH_SYS', uid: 1000, gid: 100, gids: [4, 24, 27] })
  expect(callers.of(alice)).toBe(callers.of(alice))
  expect(asked).toBe(1)
  // The same thread as somebody else (setuid), and the same caller after a while.
  expect(read(callers.of({ ...alice, uid: 0 }))).toMatchObject({ uid: 0 })
  now = 1e6
  callers.of({ ...alice, uid: 0 })
  expect(asked).toBe(3)
})

test('more groups than fit are cut off; the kernel has none', () => {
  const groupsOf = (): number[] => Array.from({ length: 40 }, (_, n) => n)
  const callers = new CallerCredentials({ now: () => 0, groupsOf })
  expect(read(callers.of({ uid: 1, gid: 1, pid: 7 }))).toMatchObject({ gids: groupsOf().slice(0, 16) })
  expect(read(callers.of({ uid: 1, gid: 1, pid: 0 }))).toMatchObject({ gids: [] })
})

test('a process that is gone has no groups', () => {
  const callers = new CallerCredentials({ now: () => 0 })
  expect(read(callers.of({ uid: 1, gid: 1, pid: 2 ** 22 + 1 }))).toMatchObject({ uid: 1, gids: [] })
})
