import { closeSync, mkdtempSync, openSync, realpathSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mappedFiles, usedFiles, usersOf } from '../../../src/serving/open-files.ts'

test('mappings name files, also with spaces and newlines', () => {
  const maps = `\
55d0c0a3e000-55d0c0a40000 r--p 00000000 fe:01 393289                     /usr/bin/cat
7ffd7b5f6000-7ffd7b617000 rw-p 00000000 00:00 0                          [stack]
7f0000000000-7f0000001000 rw-s 00000000 00:2f 17                         /mnt/a/two words (deleted)
7f0000001000-7f0000002000 r--p 00001000 00:2f 18                         /mnt/a/new\\012line
7f0000003000-7f0000004000 rw-p 00000000 00:00 0
`
  expect([...mappedFiles(maps)]).toEqual(['/usr/bin/cat', '/mnt/a/two words (deleted)', '/mnt/a/new\nline'])
})

test('open files are found by their directory, once, and no others', () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'proteus-open-')))
  const file = join(directory, 'file')
  const fds = [openSync(file, 'w'), openSync(file, 'r')]
  try {
    const used = { pid: process.pid, command: expect.any(String), use: 'open' }
    expect(usedFiles([directory])).toEqual([{ ...used, path: file }])
    expect(usersOf(directory)).toEqual([expect.stringMatching(new RegExp(`\\(${process.pid}\\)$`))])
    expect(usedFiles([join(directory, 'fil')])).toEqual([])
    unlinkSync(file)
    expect(usedFiles([directory])).toEqual([{ ...used, path: `${file} (deleted)` }])
  } finally {
    for (const fd of fds) closeSync(fd)
    rmSync(directory, { recursive: true })
  }
})
