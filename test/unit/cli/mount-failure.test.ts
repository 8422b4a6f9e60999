import { describe, expect, test } from 'vitest'
import { describeMountFailure } from '../../../src/cli/support/mount-failure.ts'

const failure = (code: string, syscall: string, detail = '') =>
  Object.assign(new Error(`${code}: Words, ${syscall}${detail && ` ${detail}`}`), { code, syscall })
const helper = (said: string) => failure('EPERM', 'fusermount3', `'/m': ${said}`)

describe('describeMountFailure', () => {
  const cases: [Error, RegExp | undefined][] = [
    [failure('ENOENT', 'spawn fusermount3', '(apt-get install fuse3)'), /needs fusermount3: apt-get install fuse3$/],
    [helper('user has no write access to mountpoint /m'), /^cannot mount on \/m: user has no write access to mountp/],
    [helper('failed to open /dev/fuse: Permission denied'), /^\/dev\/fuse is not for this user: .*chmod 666/],
    [helper("fuse device not found, try 'modprobe fuse' first"), /fuse device not found/],
    [helper('failed to open /dev/fuse: No such file or directory'), /^there is no \/dev\/fuse: `modprobe fuse`/],
    [helper(''), /did not say why: is it set-uid root\?$/],
    [failure('ENOENT', 'open', "'/dev/fuse'"), /^there is no \/dev\/fuse/],
    [failure('EACCES', 'open', "'/dev/fuse'"), /^\/dev\/fuse is not for this user/],
    [failure('EPERM', 'mount', "'/m'"), /no CAP_SYS_ADMIN/],
    [failure('ENODEV', 'mount', "'/m'"), /modprobe fuse/],
    [failure('EINVAL', 'mount', "'/m'"), undefined],
    [failure('EACCES', 'open', "'/data/volume.db'"), undefined],
    [new Error('anything'), undefined],
  ]
  test.each(cases)('%s', (error, expected) => {
    const line = describeMountFailure(error, '/m')
    if (expected === undefined) expect(line).toBeUndefined()
    else expect(line).toMatch(expected)
  })
})
