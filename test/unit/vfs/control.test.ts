import { describe, expect, test } from 'vitest'
import { FsError } from '../../../src/posix/errors.ts'
import { O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } from '../../../src/posix/mode.ts'
import { fuseChannel } from '../../../src/trace/trace.ts'
import { type ControlFile, type ControlProvider, withControlDirectory } from '../../../src/vfs/control.ts'
import type { Entry, ExtendedAttributes, FileSystem } from '../../../src/vfs/filesystem.ts'
import { ROOT_NODE } from '../../../src/vfs/filesystem.ts'
import { callContext, ListingSink, NOTE_NODE, RecordedFileSystem } from './recorded-file-system.ts'

const ROOT = callContext(0)
const OWNER = callContext(1000)
const STRANGER = callContext(2000)
const MOUNT = '/mnt/a'

function wrap(provider: Partial<ControlProvider> = {}, inner: FileSystem = new RecordedFileSystem()): FileSystem {
  const whole: ControlProvider = { status: () => ({ files: 3 }), ...provider }
  return withControlDirectory(inner, whole, {
    mode: 'local',
    mount: MOUNT,
    owner: { uid: 1000, gid: 1000 },
    createdMs: 1_700_000_000_123,
    describe: () => ({ driver: 'kernel' }),
  })
}

async function find(fs: FileSystem, ...names: string[]): Promise<Entry> {
  let node = ROOT_NODE
  let entry: Entry | undefined
  for (const name of names) {
    const found = await fs.lookup(OWNER, node, name)
    if (found.node === 0) throw new FsError('ENOENT')
    entry = found as Entry
    node = entry.node
  }
  if (entry === undefined) throw new Error('no names')
  return entry
}

async function open(fs: FileSystem, name: string, flags: number, context = OWNER) {
  const { node } = await find(fs, '.proteus', name)
  return fs.open(context, node, flags)
}

/** One write(2); positions mean nothing to control files. */
const put = async (fs: FileSystem, handle: number, bytes: Uint8Array): Promise<number> =>
  fs.write(OWNER, handle, 0, bytes, false)

async function readAll(fs: FileSystem, name: string, context = OWNER): Promise<string> {
  const { handle } = await open(fs, name, O_RDONLY, context)
  const parts: Buffer[] = []
  for (let offset = 0; ; ) {
    const part = Buffer.from((await fs.read(context, handle, offset, 5)) as Uint8Array)
    if (part.length === 0) break
    parts.push(part)
    offset += part.length
  }
  await fs.flush(context, handle, 0n)
  await fs.release(handle)
  return Buffer.concat(parts).toString()
}

/** A control file that keeps what is written; the line `bad` is refused. */
function recorder(): { file: ControlFile; lines: string[] } {
  const lines: string[] = []
  const write = (line: string): void => {
    if (line === 'bad') throw new FsError('EINVAL')
    lines.push(line)
  }
  return { lines, file: { name: 'orders', read: () => lines.join('\n'), write } }
}

const failsWith = async (code: string, action: () => unknown): Promise<void> =>
  expect(async () => action()).rejects.toMatchObject({ name: 'FsError', code })

describe('the directory', () => {
  test('is found by name and not listed', async () => {
    const fs = wrap()
    const entry = await find(fs, '.proteus')
    expect(entry.node).toBeGreaterThanOrEqual(2 ** 51)
    expect(entry.node).toBeLessThan(2 ** 52)
    expect(entry.attributes).toMatchObject({ mode: 0o40555, uid: 1000, gid: 1000, nlink: 2 })
    expect(entry.attributes.mtime).toEqual({ sec: 1_700_000_000, nsec: 123_000_000 })

    const { handle } = await fs.openDirectory(OWNER, ROOT_NODE)
    const sink = new ListingSink()
    await fs.readDirectory(OWNER, handle, 0, sink)
    expect(sink.entries.map(({ name }) => name)).toEqual(['note'])
  })

  test('is only in the root', async () => {
    const inner = new RecordedFileSystem()
    await wrap({}, inner).lookup(OWNER, NOTE_NODE, '.proteus')
    expect(inner.calls).toEqual([['lookup', NOTE_NODE, '.proteus']])
  })

  test('lists its files, from any cookie and into any room', async () => {
    const fs = wrap({ files: [{ name: 'cml', read: () => '' }] })
    const { node } = await find(fs, '.proteus')
    const { handle } = await fs.openDirectory(OWNER, node)
    const names = ['.', '..', 'status', 'status.json', 'trace', 'network', 'cml']
    const all = new ListingSink()
    await fs.readDirectory(OWNER, handle, 0, all)
    expect(all.entries.map(({ name }) => name)).toEqual(names)
    expect(all.full[2]).toEqual(await find(fs, '.proteus', 'status'))
    expect(all.full[0]).toBeUndefined()

    const seen: string[] = []
    for (let cookie = 0; ; ) {
      const sink = new ListingSink(2)
      await fs.readDirectory(OWNER, handle, cookie, sink)
      if (sink.entries.length === 0) break
      seen.push(...sink.entries.map(({ name }) => name))
      cookie = sink.entries.at(-1)?.cookie ?? 0
    }
    expect(seen).toEqual(names)
    await fs.releaseDirectory(handle)
  })

  test('takes no new names, and cannot be replaced, moved or removed', async () => {
    const inner = new RecordedFileSystem()
    const fs = wrap({}, inner)
    const { node: control } = await find(fs, '.proteus')
    const { node: status } = await find(fs, '.proteus', 'status')
    const created = (parent: number, name: string) => ({ parent, name, mode: 0o644, umask: 0 })
    const moved = (parent: number, name: string, newParent: number, newName: string) => ({
      parent,
      name,
      newParent,
      newName,
      flags: 0,
    })

    await failsWith('EEXIST', () => fs.makeDirectory(ROOT, created(ROOT_NODE, '.proteus')))
    await failsWith('EEXIST', () => fs.makeNode(ROOT, created(ROOT_NODE, '.proteus')))
    await failsWith('EEXIST', () => fs.makeSymlink(ROOT, ROOT_NODE, '.proteus', 'x'))
    await failsWith('EEXIST', () => fs.create(ROOT, created(ROOT_NODE, '.proteus'), O_WRONLY))
    await failsWith('EEXIST', () => fs.link(ROOT, NOTE_NODE, ROOT_NODE, '.proteus'))
    await failsWith('EISDIR', () => fs.unlink(ROOT, ROOT_NODE, '.proteus'))
    await failsWith('EBUSY', () => fs.removeDirectory(ROOT, ROOT_NODE, '.proteus'))
    await failsWith('EBUSY', () => fs.rename(ROOT, moved(ROOT_NODE, '.proteus', ROOT_NODE, 'x')))
    await failsWith('EBUSY', () => fs.rename(ROOT, moved(ROOT_NODE, 'x', ROOT_NODE, '.proteus')))

    await failsWith('EPERM', () => fs.create(ROOT, created(control, 'x'), O_WRONLY))
    await failsWith('EPERM', () => fs.makeDirectory(ROOT, created(control, 'x')))
    await failsWith('EPERM', () => fs.unlink(ROOT, control, 'status'))
    await failsWith('EPERM', () => fs.rename(ROOT, moved(control, 'status', ROOT_NODE, 'x')))
    await failsWith('EPERM', () => fs.rename(ROOT, moved(ROOT_NODE, 'x', control, 'x')))
    await failsWith('EPERM', () => fs.link(ROOT, status, ROOT_NODE, 'x'))
    await failsWith('EPERM', () => fs.setAttributes(ROOT, status, { mode: 0o777 }))
    await failsWith('EPERM', () => fs.setAttributes(ROOT, status, { mtime: 'now' }))
    // What the kernel asks for when somebody other than root opens with O_TRUNC, or writes.
    await fs.setAttributes(ROOT, status, { clearSetId: true })
    expect(inner.calls).toEqual([])
  })

  test('has files only where names are asked for, and no other nodes', async () => {
    const fs = wrap()
    const { node } = await find(fs, '.proteus')
    expect(await fs.lookup(OWNER, node, 'nothing')).toMatchObject({ node: 0 })
    const { node: status } = await find(fs, '.proteus', 'status')
    await failsWith('ENOTDIR', () => fs.lookup(OWNER, status, 'x'))
    await failsWith('ENOTDIR', () => fs.openDirectory(OWNER, status))
    await failsWith('EISDIR', () => fs.open(OWNER, node, O_RDONLY))
    await failsWith('ESTALE', () => fs.getAttributes(OWNER, node + 1000))
    await failsWith('EBADF', () => fs.read(OWNER, 2 ** 51 + 1000, 0, 10))
  })
})

describe('what is not the control directory', () => {
  test('goes straight through', async () => {
    const inner = new RecordedFileSystem()
    const fs = wrap({}, inner)
    expect(fs.lookup(ROOT, ROOT_NODE, 'note')).toMatchObject({ node: NOTE_NODE })
    fs.forget(NOTE_NODE, 3)
    fs.getAttributes(ROOT, NOTE_NODE, 7)
    fs.read(ROOT, 7, 100, 10)
    const keep = () => () => {}
    fs.write(ROOT, 7, 100, Buffer.from('text'), true, keep)
    fs.release(7, 5n)
    expect(inner.calls).toEqual([
      ['lookup', ROOT_NODE, 'note'],
      ['forget', NOTE_NODE, 3],
      ['getAttributes', NOTE_NODE, 7],
      ['read', 7, 100, 10],
      ['write', 7, 100, Buffer.from('text'), true, keep],
      ['release', 7, 5n],
    ])
  })

  test('has the optional interfaces that it had, and no others', async () => {
    const bare = wrap()
    for (const name of ['access', 'createTemporary', 'sync', 'locks', 'xattrs', 'allocation', 'copy'] as const) {
      expect(bare[name], name).toBeUndefined()
    }
    const asked: number[] = []
    const rich = wrap(
      {},
      Object.assign(new RecordedFileSystem(), {
        locks: { getLock: () => null, setLock: () => undefined },
        allocation: {
          allocate: (_: unknown, handle: number) => void asked.push(handle),
          seek: () => 0,
        },
        sync: () => undefined,
        wants: { writebackCache: true },
      }),
    )
    expect(rich.locks).toBeDefined()
    expect(rich.sync).toBeDefined()
    expect(rich.copy).toBeUndefined()
    expect([bare.wants, rich.wants]).toEqual([undefined, { writebackCache: true }])
    await rich.allocation?.allocate(ROOT, 7, 0, 0, 1)
    await failsWith('EOPNOTSUPP', () => rich.allocation?.allocate(ROOT, 2 ** 51, 0, 0, 1))
    expect(asked).toEqual([7])
  })
})

describe('reading', () => {
  test('status tells the mount and the mode, as text and as JSON', async () => {
    const fs = wrap()
    expect(JSON.parse(await readAll(fs, 'status.json'))).toEqual({
      mode: 'local',
      mount: MOUNT,
      pid: process.pid,
      since: '2023-11-14T22:13:20.123Z',
      driver: 'kernel',
      details: { files: 3 },
    })
    const text = await readAll(fs, 'status')
    expect(text).toContain('mode: local\n')
    expect(text).toContain('details:\n  files: 3\n')
  })

  test('one open reads one text, whatever changes meanwhile', async () => {
    let version = 0
    const fs = wrap({ files: [{ name: 'version', read: () => `version ${++version}` }] })
    const { handle, directIo } = await open(fs, 'version', O_RDONLY)
    expect(directIo).toBe(true)
    expect(String(await fs.read(OWNER, handle, 0, 3))).toBe('ver')
    expect(await readAll(fs, 'version')).toBe('version 2')
    expect(String(await fs.read(OWNER, handle, 3, 100))).toBe('sion 1')
  })

  test('obeys permissions', async () => {
    const fs = wrap({ files: [{ name: 'orders', write: () => undefined }] })
    await failsWith('EACCES', () => open(fs, 'trace', O_RDONLY, STRANGER))
    await failsWith('EACCES', () => open(fs, 'network', O_WRONLY, STRANGER))
    await failsWith('EACCES', () => open(fs, 'status', O_RDWR, ROOT))
    await failsWith('EACCES', () => open(fs, 'orders', O_RDONLY, ROOT))
    expect(await readAll(fs, 'status', STRANGER)).toContain('local')
  })
})

describe('writing', () => {
  test('a line takes effect with the write that ends it, and so does its error', async () => {
    const { file, lines } = recorder()
    const fs = wrap({ files: [file] })
    const { handle } = await open(fs, 'orders', O_WRONLY | O_TRUNC)
    // A shell closes a duplicate of the descriptor before it writes.
    await fs.flush(OWNER, handle, 0n)
    expect(await put(fs, handle, Buffer.from('first\nsec'))).toBe(9)
    expect(lines).toEqual(['first'])
    await put(fs, handle, Buffer.from('ond\n\n'))
    expect(lines).toEqual(['first', 'second'])
    await failsWith('EINVAL', () => put(fs, handle, Buffer.from('bad\n')))
    await fs.flush(OWNER, handle, 0n)
    expect(lines).toEqual(['first', 'second'])
  })

  test('a last line without newline takes effect at close, and so does its error', async () => {
    const { file, lines } = recorder()
    const fs = wrap({ files: [file] })
    const first = await open(fs, 'orders', O_WRONLY)
    await put(fs, first.handle, Buffer.from('gr\u{fc}n').subarray(0, 3))
    await put(fs, first.handle, Buffer.from('gr\u{fc}n').subarray(3))
    expect(lines).toEqual([])
    await fs.flush(OWNER, first.handle, 0n)
    await fs.flush(OWNER, first.handle, 0n)
    expect(lines).toEqual(['grün'])

    const second = await open(fs, 'orders', O_WRONLY)
    await put(fs, second.handle, Buffer.from('bad'))
    await failsWith('EINVAL', () => fs.flush(OWNER, second.handle, 0n))
  })

  test('refuses what is not UTF-8, and lines without end', async () => {
    const { file, lines } = recorder()
    const fs = wrap({ files: [file] })
    const { handle } = await open(fs, 'orders', O_WRONLY)
    await failsWith('EILSEQ', () => put(fs, handle, Buffer.from([0xff, 0x0a])))
    await failsWith('EMSGSIZE', () => put(fs, handle, Buffer.alloc(65_537, 'x')))
    await fs.flush(OWNER, handle, 0n)
    expect(lines).toEqual([])
  })

  test('truncation, which a shell does before, changes nothing', async () => {
    const fs = wrap({ files: [recorder().file] })
    const { node } = await find(fs, '.proteus', 'orders')
    expect((await fs.setAttributes(OWNER, node, { size: 0 })).attributes.size).toBe(0)
    await failsWith('EACCES', () => fs.setAttributes(STRANGER, node, { size: 0 }))
  })

  test('the network of a mode without one cannot be set', async () => {
    const fs = wrap()
    expect(await readAll(fs, 'network')).toBe('none: mode local has no network\n')
    const { handle } = await open(fs, 'network', O_WRONLY)
    await failsWith('EOPNOTSUPP', () => put(fs, handle, Buffer.from('down\n')))
  })

  test('the network of a mode with one can', async () => {
    let state = 'up'
    const fs = wrap({
      network: {
        show: () => state,
        set: (line) => {
          state = line
        },
      },
    })
    const { handle } = await open(fs, 'network', O_WRONLY)
    await put(fs, handle, Buffer.from(' latency=50ms \n'))
    expect(await readAll(fs, 'network')).toBe('latency=50ms\n')
  })
})

describe('trace', () => {
  const event = { time: 0, mount: MOUNT, op: 'LOOKUP', node: 1, pid: 1, us: 1 } as const

  test('a reader waits for an event of this mount, and gets it as a line', async () => {
    const fs = wrap()
    const { handle, nonSeekable } = await open(fs, 'trace', O_RDONLY)
    expect(nonSeekable).toBe(true)
    const line = fs.read(OWNER, handle, 0, 4096)
    fuseChannel.publish({ ...event, mount: '/mnt/b' })
    // What reading the trace itself causes must not come back through it.
    fuseChannel.publish({ ...event, op: 'READ', node: 2 ** 51 + 3 })
    fuseChannel.publish({ ...event, name: 'x' })
    expect(JSON.parse(String(await line))).toEqual({ channel: 'fuse', ...event, name: 'x' })
    await fs.release(handle)
    expect(fuseChannel.hasSubscribers).toBe(false)
  })

  test('an interrupted reader gets EINTR; one that must not wait, EAGAIN', async () => {
    const fs = wrap()
    const { handle } = await open(fs, 'trace', O_RDONLY)
    const abort = new AbortController()
    const reading = fs.read(callContext(1000, abort.signal), handle, 0, 4096)
    abort.abort()
    await failsWith('EINTR', () => reading)
    await fs.release(handle)

    const impatient = await open(fs, 'trace', O_RDONLY | O_NONBLOCK)
    await failsWith('EAGAIN', () => fs.read(OWNER, impatient.handle, 0, 4096))
    await fs.release(impatient.handle)
  })

  test('ends when the mount does', async () => {
    const fs = wrap()
    const { handle } = await open(fs, 'trace', O_RDONLY)
    const reading = Promise.resolve(fs.read(OWNER, handle, 0, 4096))
    await fs.detach?.()
    expect(await reading).toHaveLength(0)
    expect(fuseChannel.hasSubscribers).toBe(false)
  })
})

describe('facts as extended attributes', () => {
  const provider = { facts: (node: number) => ({ version: String(node), lease: 'RW' }) }
  const get = async (xattrs: ExtendedAttributes | undefined, name: string, node = NOTE_NODE) =>
    String(await xattrs?.getXattr(OWNER, node, name))

  test('are read one by one or all at once, and not listed', async () => {
    const { xattrs } = wrap(provider)
    expect(await get(xattrs, 'user.proteus.version')).toBe('2')
    expect(JSON.parse(await get(xattrs, 'user.proteus'))).toEqual({ version: '2', lease: 'RW' })
    expect(await xattrs?.listXattrs(OWNER, NOTE_NODE)).toEqual([])
    expect(await xattrs?.getXattr(OWNER, NOTE_NODE, 'user.proteus.toString')).toBe(undefined)
    await failsWith('EOPNOTSUPP', () => get(xattrs, 'user.other'))
  })

  test('cannot be set', async () => {
    const { xattrs } = wrap(provider)
    await failsWith('EPERM', () => xattrs?.setXattr(ROOT, NOTE_NODE, 'user.proteus.version', Buffer.of(), 'either'))
    await failsWith('EPERM', () => xattrs?.removeXattr(ROOT, NOTE_NODE, 'user.proteus'))
  })

  test('leave real attributes alone', async () => {
    const names: string[] = []
    const real: ExtendedAttributes = {
      getXattr: () => Buffer.from('real'),
      listXattrs: () => ['user.proteus2'],
      setXattr: (_context, _node, name) => void names.push(name),
      removeXattr: () => undefined,
    }
    const fs = wrap(provider, Object.assign(new RecordedFileSystem(), { xattrs: real }))
    expect(await get(fs.xattrs, 'user.proteus2')).toBe('real')
    await fs.xattrs?.setXattr(ROOT, NOTE_NODE, 'user.proteus2', Buffer.of(), 'create')
    expect(names).toEqual(['user.proteus2'])
    expect(await fs.xattrs?.listXattrs(OWNER, NOTE_NODE)).toEqual(['user.proteus2'])

    const { node } = await find(fs, '.proteus')
    await failsWith('EOPNOTSUPP', () => get(fs.xattrs, 'user.proteus2', node))
    expect(await fs.xattrs?.listXattrs(OWNER, node)).toEqual([])
  })
})
