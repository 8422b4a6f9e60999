import { mkdir, mkdtemp, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { findSillyNames, isOrphan } from '../../../../src/modes/nfs/orphans.ts'
import { formatSillyName } from '../../../../src/modes/nfs/silly-rename.ts'

const DAY = 86_400_000

test('orphans are silly names that nobody has used for long enough', () => {
  const old = { name: '.nfs000000000000123400000001', fileId: 0x1234n, atimeMs: 0, mtimeMs: 0, ctimeMs: 0 }
  const reap = (more: Partial<typeof old>) => isOrphan({ ...old, ...more }, { nowMs: 8 * DAY, minAgeMs: 7 * DAY })
  expect(reap({})).toBe(true)
  expect(reap({ name: '.nfs0000' })).toBe(false)
  // Somebody gave another file such a name.
  expect(reap({ fileId: 0x1235n })).toBe(false)
  for (const time of ['atimeMs', 'mtimeMs', 'ctimeMs'] as const) {
    expect(reap({ [time]: DAY })).toBe(true)
    expect(reap({ [time]: DAY + 1 })).toBe(false)
  }
})

test('silly names are found below a directory', async () => {
  const root = await mkdtemp(join(inject('testRoot'), 'orphans-'))
  await mkdir(join(root, 'a/b'), { recursive: true })
  const silly = async (folder: string): Promise<string> => {
    const path = join(root, folder, 'f')
    await writeFile(path, 'four')
    const { ino } = await stat(path, { bigint: true })
    const to = join(root, folder, formatSillyName({ fileId: ino, counter: 1 }))
    await rename(path, to)
    return to
  }
  const paths = [await silly('.'), await silly('a/b')]
  await writeFile(join(root, 'a', formatSillyName({ fileId: 1n, counter: 1 })), 'not by a silly rename')
  const errors: string[] = []
  const found = []
  for await (const file of findSillyNames(root, (path) => errors.push(path))) found.push(file)
  expect(found.map(({ path, bytes }) => [path, bytes]).toSorted()).toEqual(paths.map((path) => [path, 4]).toSorted())
  expect(errors).toEqual([])
})
