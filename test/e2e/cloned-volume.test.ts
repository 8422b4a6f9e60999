// Programs on a mount of a volume of which there is a clone: what they share with it is copied under their hands.
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ROOT_CREDENTIALS } from '../../src/posix/credentials.ts'
import { Volume } from '../../src/store/volume.ts'
import { Cli } from '../support/cli.ts'
import { Posix } from '../support/posix.ts'
import { O } from '../support/syscalls.ts'

let cli: Cli | undefined
const programs = new Posix()

afterEach(async () => {
  programs.close()
  await cli?.cleanUp()
})

test.skipIf(process.getuid?.() !== 0)(
  'whoever reads or maps a shared file sees what is written, and the clone does not',
  async () => {
    cli = new Cli()
    const at = (name: string) => join((cli as Cli).folder, name)
    const names = ['read', 'mapped']
    const volume = await Volume.open(at('volume'))
    for (const name of names) {
      const ino = volume.create(1, name, { mode: 0o100644 }, ROOT_CREDENTIALS)
      volume.writeUnopened(ino, Buffer.from('old old'), 0, ROOT_CREDENTIALS)
    }
    await volume.clone(at('clone'))
    await volume.close()
    await cli.json('mount', `local:${at('volume')}`, at('mnt'))
    const { calls } = programs
    const reader = await calls.open(join(at('mnt'), 'read'), O.RDONLY)
    expect(await calls.pread(reader, 100, 0)).toBe('old old')
    const mapped = await calls.open(join(at('mnt'), 'mapped'), O.RDONLY)
    const mapping = await calls.mmap(mapped, 7, false, true)
    expect(await calls.mmapRead(mapping, 0, 7)).toBe('old old')
    await calls.close(mapped)
    for (const name of names) {
      const writer = await calls.open(join(at('mnt'), name), O.RDWR)
      await calls.pwrite(writer, 'new', 0)
      const other = await calls.open(join(at('mnt'), name), O.RDONLY)
      expect(await calls.pread(other, 100, 0)).toBe('new old')
      for (const fd of [writer, other]) await calls.close(fd)
    }
    expect(await calls.pread(reader, 100, 0)).toBe('new old')
    expect(await calls.mmapRead(mapping, 0, 7)).toBe('new old')
    await calls.munmap(mapping)
    await calls.close(reader)
    await cli.json('unmount', at('mnt'))
    const clone = await Volume.open(at('clone'), { readOnly: true })
    for (const name of names) {
      const into = Buffer.alloc(7)
      clone.readUnopened(clone.lookup(1, name, ROOT_CREDENTIALS) ?? 0, into, 0)
      expect(into.toString()).toBe('old old')
    }
    await clone.close()
  },
)
