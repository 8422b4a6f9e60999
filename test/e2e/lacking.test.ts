// What a file system does not implement: programs get the error that fits, or what the kernel does instead, and the kernel
// asks once only.
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { KernelMount } from '../support/kernel-mount.ts'
import { Posix } from '../support/posix.ts'
import { O, RENAME, SEEK } from '../support/syscalls.ts'
import { scratch } from '../support/targets.ts'

const posix = new Posix()
const { calls } = posix
let mount: KernelMount
let fd: number

beforeAll(async () => {
  mount = await KernelMount.start(scratch('lacking'))
  fd = await calls.open(join(mount.target, 'file'), O.RDWR | O.CREAT, 0o644)
  await calls.write(fd, 'content')
})
afterAll(async () => {
  posix.close()
  await mount.end()
})

it.each([
  ['FALLOCATE', () => calls.fallocate(fd, 0, 0, 100)],
  ['TMPFILE', () => calls.open(mount.target, O.RDWR | O.TMPFILE, 0o600)],
] as const)('%s is EOPNOTSUPP', async (opcode, call) => {
  for (let times = 0; times < 3; times++) await expect(call()).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  expect((await mount.calls.report()).requests[opcode]).toBe(1)
})

it('LSEEK: the kernel takes the file for one extent', async () => {
  for (let times = 0; times < 3; times++) {
    expect(await calls.lseek(fd, 0, SEEK.DATA)).toBe(0)
    expect(await calls.lseek(fd, 0, SEEK.HOLE)).toBe(7)
  }
  expect((await mount.calls.report()).requests.LSEEK).toBe(1)
})

it('IOCTL is ENOTTY, and RENAME_WHITEOUT is EINVAL', async () => {
  await expect(calls.ioctl(fd, 0x1234)).rejects.toMatchObject({ code: 'ENOTTY' })
  const [from, to] = [join(mount.target, 'file'), join(mount.target, 'other')]
  await expect(calls.renameat2(from, to, RENAME.WHITEOUT)).rejects.toMatchObject({ code: 'EINVAL' })
})

it('nothing of this is a defect', async () => {
  expect((await mount.calls.report()).errors).toEqual([])
})
