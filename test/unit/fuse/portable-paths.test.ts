import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Paths } from '../../../src/fuse/portable-paths.ts'
import { FsError } from '../../../src/posix/errors.ts'
import { type CallContext, type Entry, ROOT_NODE } from '../../../src/vfs/filesystem.ts'
import { MemoryFileSystem } from '../../support/memory-fs.ts'

const context: CallContext = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal }

/** A file system that counts lookups and waits in each one until it is let go. */
class Counting extends MemoryFileSystem {
  lookupsMade = 0
  /** While this is set, a lookup takes its answer at once and gives it when the promise is resolved. */
  held: Promise<void> | undefined

  override lookup(caller: CallContext, parent: number, name: string) {
    this.lookupsMade++
    const answer = super.lookup(caller, parent, name)
    return (this.held === undefined ? answer : this.held.then(() => answer)) as Entry
  }
}

function world({ nameTtlMs = 1000, limit = 100 } = {}) {
  const fileSystem = new Counting({ nameTtlMs, now: () => 0 })
  const clock = { ms: 0 }
  const paths = new Paths({ fileSystem, context, now: () => clock.ms, limit })
  const make = (parent: number, name: string): number => {
    const { node } = fileSystem.makeDirectory(context, { parent, name, mode: 0o755, umask: 0 })
    fileSystem.forget(node, 1)
    return node
  }
  const a = make(ROOT_NODE, 'a')
  const b = make(a, 'b')
  const c = make(b, 'c')
  const nodeOf = (path: string) => paths.use(path, (node) => node)
  return { fileSystem, clock, paths, make, nodeOf, a, b, c }
}

const code = (failing: Promise<unknown>) =>
  failing.then(
    () => 'success',
    (error) => (error instanceof FsError ? error.code : String(error)),
  )

describe('walking', () => {
  it('finds the root and what is below it, and what is not there', async () => {
    const { nodeOf, a, c } = world()
    expect(await nodeOf('/')).toBe(ROOT_NODE)
    expect(await nodeOf('/a')).toBe(a)
    expect(await nodeOf('/a/b/c')).toBe(c)
    expect(await code(nodeOf('/a/x/c'))).toBe('ENOENT')
  })

  it('refuses names that were not UTF-8', async () => {
    const { nodeOf, paths } = world()
    expect(await code(nodeOf('/a/\ufffd'))).toBe('EILSEQ')
    expect(await code(paths.useParent('/\ufffd', () => undefined))).toBe('EILSEQ')
  })

  it('splits off the last name, which the root does not have', async () => {
    const { paths, a } = world()
    expect(await paths.useParent('/a/new', (parent, name) => [parent, name])).toEqual([a, 'new'])
    expect(await code(paths.useParent('/', () => undefined))).toBe('EBUSY')
  })
})

describe('memory', () => {
  it('asks once for each prefix until its time is over', async () => {
    const { fileSystem, clock, nodeOf } = world()
    await nodeOf('/a/b/c')
    await nodeOf('/a/b')
    expect(fileSystem.lookupsMade).toBe(3)
    clock.ms = 999
    await nodeOf('/a/b/c')
    expect(fileSystem.lookupsMade).toBe(3)
    clock.ms = 1000
    await nodeOf('/a/b')
    expect(fileSystem.lookupsMade).toBe(5)
  })

  it('remembers nothing when the file system says so', async () => {
    const { fileSystem, nodeOf } = world({ nameTtlMs: 0 })
    await nodeOf('/a/b/c')
    await nodeOf('/a/b/c')
    expect(fileSystem.lookupsMade).toBe(6)
    expect(fileSystem.audit().lookups).toBe(0)
  })

  it('drops a path with all below it, and no path that only begins alike', async () => {
    const { fileSystem, paths, make, nodeOf } = world()
    make(ROOT_NODE, 'ab')
    for (const path of ['/a/b/c', '/ab']) await nodeOf(path)
    paths.drop('/a')
    expect(fileSystem.audit().lookups).toBe(1)
    await nodeOf('/ab')
    expect(fileSystem.lookupsMade).toBe(4)
  })

  it('drops one name of a directory with all below it, or everything', async () => {
    const { fileSystem, paths, nodeOf, a } = world()
    await nodeOf('/a/b/c')
    paths.dropName(a, 'x')
    expect(fileSystem.audit().lookups).toBe(3)
    paths.dropName(a, 'b')
    expect(fileSystem.audit().lookups).toBe(1)
    paths.dropAll()
    expect(fileSystem.audit().lookups).toBe(0)
  })

  it('does not remember an answer that an invalidation has overtaken', async () => {
    const { fileSystem, paths, nodeOf, a } = world()
    let letGo = () => {}
    fileSystem.held = new Promise((resolve) => {
      letGo = resolve
    })
    const found = nodeOf('/a')
    paths.dropName(ROOT_NODE, 'a')
    letGo()
    expect(await found).toBe(a)
    expect(fileSystem.audit().lookups).toBe(0)
  })

  it('keeps to its limit and forgets what was used longest ago', async () => {
    const { fileSystem, paths, make, nodeOf } = world({ limit: 2 })
    for (const name of ['x', 'y']) make(ROOT_NODE, name)
    for (const path of ['/a', '/x', '/a', '/y']) await nodeOf(path)
    expect(fileSystem.audit().lookups).toBe(2)
    await nodeOf('/a')
    expect(fileSystem.lookupsMade).toBe(3)
    paths.dropAll()
  })

  it('remembers what was made', async () => {
    const { fileSystem, paths, nodeOf } = world()
    await paths.make('/a/new', (parent, name) =>
      fileSystem.makeNode(context, { parent, name, mode: 0o100644, umask: 0 }),
    )
    fileSystem.lookupsMade = 0
    await nodeOf('/a/new')
    expect(fileSystem.lookupsMade).toBe(0)
  })
})

describe('holding nodes', () => {
  it('forgets a node only when no call and no open file uses it any more', async () => {
    const { fileSystem, paths, a } = world()
    await paths.use('/a', (node) => {
      paths.dropAll()
      expect(fileSystem.audit().lookups).toBe(1)
      paths.retain(node)
    })
    expect(fileSystem.audit().lookups).toBe(1)
    paths.release(a)
    expect(fileSystem.audit().lookups).toBe(0)
  })

  it('lets go when a call fails', async () => {
    const { fileSystem, paths } = world({ nameTtlMs: 0 })
    expect(await code(paths.use('/a/b', () => Promise.reject(new FsError('EIO'))))).toBe('EIO')
    expect(fileSystem.audit().lookups).toBe(0)
  })

  it('gives back exactly the lookups it made, whatever happens in whatever order', async () => {
    const path = fc.constantFrom('/', '/a', '/a/b', '/a/b/c', '/a/x', '/y')
    const step = fc.oneof(
      fc.record({ kind: fc.constant('use' as const), path, yields: fc.nat(3) }),
      fc.record({ kind: fc.constant('make' as const), path, yields: fc.nat(3) }),
      fc.record({ kind: fc.constant('drop' as const), path, yields: fc.nat(3) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }),
    )
    const steps = fc.array(step, { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(30), fc.nat(3), async (steps, nameTtlMs, limit) => {
        const { fileSystem, paths, clock } = world({ nameTtlMs, limit })
        const turns = async (count: number) => {
          for (let i = 0; i < count; i++) await undefined
        }
        const running = steps.map(async (step, index) => {
          if (step.kind === 'pass') {
            clock.ms += step.ms
          } else if (step.kind === 'use') {
            await paths.use(step.path, () => turns(step.yields)).catch(() => undefined)
          } else if (step.kind === 'drop') {
            await turns(step.yields)
            paths.drop(step.path)
          } else {
            const target = `${step.path}/new${index}`
            await paths
              .make(target, (parent, name) => fileSystem.makeNode(context, { parent, name, mode: 0o100644, umask: 0 }))
              .catch(() => undefined)
          }
        })
        await Promise.all(running)
        // The file system itself throws if a node is forgotten more often than looked up.
        expect(fileSystem.audit().lookups).toBeLessThanOrEqual(steps.length * 3)
        paths.dropAll()
        expect(fileSystem.audit().lookups).toBe(0)
      }),
    )
  })
})
