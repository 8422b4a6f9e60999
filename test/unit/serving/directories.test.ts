import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeDirectory, realTarget } from '../../../src/serving/directories.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'proteus-directories-'))
})
afterEach(() => rmSync(root, { recursive: true }))

describe('realTarget', () => {
  test('follows links, also relative and repeated ones, and keeps what does not exist', () => {
    mkdirSync(join(root, 'real/deep'), { recursive: true })
    symlinkSync('real', join(root, 'one'))
    symlinkSync(join(root, 'one/deep'), join(root, 'two'))
    expect(realTarget(join(root, 'two/new/m'), [])).toBe(join(root, 'real/deep/new/m'))
    expect(realTarget(join(root, 'real/../one'), [])).toBe(join(root, 'real'))
    expect(realTarget('/', [])).toBe('/')
  })

  test('asks nothing in a FUSE mount, where a link would have to be read', () => {
    symlinkSync('elsewhere', join(root, 'link'))
    const table = [{ target: root, device: '0:50', type: 'fuse.proteus', source: 'proteus:local' }]
    expect(realTarget(join(root, 'link'), table)).toBe(join(root, 'link'))
    expect(realTarget(join(root, 'link'), [])).toBe(join(root, 'elsewhere'))
  })

  test('gives up on a circle', () => {
    symlinkSync('b', join(root, 'a'))
    symlinkSync('a', join(root, 'b'))
    expect(() => realTarget(join(root, 'a/x'), [])).toThrow(/too many symbolic links/)
  })
})

describe('makeDirectory', () => {
  test('makes what is missing, and is content with what is there', () => {
    const path = join(root, 'x/y/z')
    for (let i = 0; i < 2; i++) makeDirectory(path, 0o700)
    expect(statSync(path).mode & 0o7777).toBe(0o700)
  })

  test('says what is in the way', () => {
    writeFileSync(join(root, 'file'), '')
    for (const path of ['file', 'file/x', 'file/x/y'])
      expect(() => makeDirectory(join(root, path))).toThrow(/file is not a directory$/)
    expect(() => makeDirectory('/proc/nosuch/x')).toThrow('/proc/nosuch cannot be made: /proc takes no directories')
  })
})
