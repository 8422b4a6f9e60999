import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LocalFileSystem } from '../../../src/modes/local/client.ts'
import { LocalLocks } from '../../../src/modes/local/locks.ts'
import { O_EXCL, O_RDWR } from '../../../src/posix/mode.ts'
import { LockService } from '../../../src/store/lock-service.ts'
import { Volume } from '../../../src/store/volume.ts'
import type { CallContext, DirectorySink, Entry, KernelCache } from '../../../src/vfs/filesystem.ts'

const context: CallContext = { uid: 0, gid: 0, pid: 1, signal: new AbortController().signal }
const FOREVER = Number.POSITIVE_INFINITY
const at = (name: string) => ({ parent: 1, name, mode: 0o100644, umask: 0 })

let directory: string
let volume: Volume
let told: { a: string[]; b: string[] }
let a: LocalFileSystem
let b: LocalFileSystem

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'proteus-local-'))
  volume = await Volume.open(directory)
  told = { a: [], b: [] }
  const service = new LockService()
  const siblings = new Set<LocalFileSystem>()
  const mount = (name: 'a' | 'b') => {
    const kernel: KernelCache = {
      can: { passthrough: true, invalidation: true, nameEpochs: true, locks: true },
      invalidateAttributes: (node) => told[name].push(`attributes ${node}`) > 0,
      invalidateAllNames: () => told[name].push('names') > 0,
      invalidateData: async () => undefined,
      expireName: async () => undefined,
      deleted: async () => undefined,
      store: async () => false,
      invalidateName: async (parent, gone) => void told[name].push(`${parent}/${gone}`),
    }
    const fileSystem = new LocalFileSystem(volume, new LocalLocks(service, name), siblings)
    fileSystem.attach(kernel)
    return fileSystem
  }
  a = mount('a')
  b = mount('b')
})

afterEach(async () => {
  await a.detach()
  await b.detach()
  await volume.close()
  rmSync(directory, { recursive: true })
})

describe('two mounts of a volume', () => {
  it('a change is told to the kernel that believes otherwise, and only to that', () => {
    b.makeNode(context, at('unrelated'))
    expect(told).toEqual({ a: [], b: [] })
    expect(a.lookup(context, 1, 'new')).toEqual({ node: 0, nameTtlMs: FOREVER })
    b.makeNode(context, at('new'))
    expect(told).toEqual({ a: ['names'], b: [] })
  })

  it('a file that the other mount made meanwhile is looked for again, unless it had to be new', () => {
    b.makeNode(context, at('raced'))
    expect(() => a.create(context, at('raced'), O_RDWR)).toThrow('ESTALE')
    expect(() => a.create(context, at('raced'), O_RDWR | O_EXCL)).toThrow('EEXIST')
  })

  it('a name that goes is taken out of a kernel that knows where it led: else its space would stay', () => {
    b.makeNode(context, at('file'))
    const { node } = a.lookup(context, 1, 'file') as Entry
    b.rename(context, { parent: 1, name: 'file', newParent: 1, newName: 'moved', flags: 0 })
    expect(told.a).toEqual(['names', '1/file', `attributes ${node}`])
    a.lookup(context, 1, 'moved')
    told.a.length = 0
    b.unlink(context, 1, 'moved')
    expect(told.a).toContain('1/moved')
    a.forget(node, 2)
    b.forget(node, 1)
    expect(() => volume.attributes(node)).toThrow('ESTALE')
  })

  it('attributes are promised until somebody opens the file for writing', () => {
    const { node } = b.makeNode(context, at('file'))
    expect(a.lookup(context, 1, 'file')).toMatchObject({ attributesTtlMs: FOREVER })
    const { handle } = b.open(context, node, O_RDWR)
    expect(told.a).toContain(`attributes ${node}`)
    expect(a.getAttributes(context, node).attributesTtlMs).toBe(0)
    b.release(handle)
    expect(a.getAttributes(context, node).attributesTtlMs).toBe(FOREVER)
  })

  it('a changed owner makes the other kernel walk the path again', () => {
    const { node } = b.makeNode(context, at('file'))
    a.lookup(context, 1, 'file')
    b.setAttributes(context, node, { uid: 5 })
    expect(told.a).toEqual([`attributes ${node}`, 'names'])
  })
})

describe('a listing', () => {
  const names = (handle: number, cookie: number, room: number) => {
    const taken: { name: string; cookie: number }[] = []
    const sink: DirectorySink = {
      wantsEntries: false,
      add: ({ name, cookie }) => taken.length < room && taken.push({ name, cookie }) > 0,
    }
    a.readDirectory(context, handle, cookie, sink)
    return taken
  }

  it('goes on where it stopped, from any position, and sees what changed meanwhile', () => {
    for (let i = 0; i < 300; i++) a.makeNode(context, at(`f${i}`))
    const { handle } = a.openDirectory(context, 1)
    const all = names(handle, 0, 1000)
    expect(new Set(all.map(({ name }) => name)).size).toBe(302)
    const first = names(handle, 0, 10)
    const second = names(handle, first.at(-1)?.cookie ?? 0, 10)
    expect([...first, ...second]).toEqual(all.slice(0, 20))
    a.unlink(context, 1, all[20]?.name ?? '')
    expect(names(handle, second.at(-1)?.cookie ?? 0, 5)).toEqual(all.slice(21, 26))
    expect(names(handle, first.at(-1)?.cookie ?? 0, 10)).toEqual(second)
    a.releaseDirectory(handle)
  })
})
