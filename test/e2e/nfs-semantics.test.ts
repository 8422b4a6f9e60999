// What two NFS mounts show of each other, and what they do not: stale for as long as it is promised, never longer than an
// open. Timeouts are so long that nothing runs out by itself, or so short that it is only a matter of waiting.
import {
  appendFile,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callsOf, NfsLab, statusOf } from '../support/nfs-lab.ts'
import { run } from '../support/run.ts'

/** Node has no name for it. */
const ESTALE = 116
const LONG = 'actimeo=3600'

/** Writes a file, in a process of its own: nobody knows what it is about to do. */
const fill = (path: string, { blockBytes, blocks }: { readonly blockBytes: number; readonly blocks: number }) =>
  run('dd', ['if=/dev/zero', `of=${path}`, `bs=${blockBytes}`, `count=${blocks}`, 'status=none'])

describe('two NFS mounts', () => {
  let lab: NfsLab
  let a: string
  let b: string
  let count = 0

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [[LONG], [LONG]] })
    ;[a, b] = lab.directories as [string, string]
  })
  afterAll(() => lab?.end())

  /** A fresh folder, as each of the mounts sees it. */
  async function folder(): Promise<[inA: string, inB: string]> {
    const name = `t${++count}`
    await mkdir(join(a, name))
    // The other mount has not asked for this name yet.
    return [join(a, name), join(b, name)]
  }

  test('close-to-open: a new open sees what was closed, and what is open may see old bytes', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    const early = await open(join(inB, 'f'))
    const read = async (): Promise<string> =>
      (await early.read({ buffer: Buffer.alloc(16), position: 0 })).buffer.toString('utf8', 0, 3)
    expect(await read()).toBe('one')
    await writeFile(join(inA, 'f'), 'two')
    expect(await read()).toBe('one')
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('two')
    // That open found the change: the pages went, also for whoever has had it open before.
    await expect.poll(read).toBe('two')
    await early.close()
  })

  test('attributes are stale until the timeout, or the next open', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'one')
    expect((await stat(join(inB, 'f'))).size).toBe(3)
    await appendFile(join(inA, 'f'), ' and more')
    expect((await stat(join(inA, 'f'))).size).toBe(12)
    expect((await stat(join(inB, 'f'))).size).toBe(3)
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('one and more')
    expect((await stat(join(inB, 'f'))).size).toBe(12)
  })

  test('a name that was not there stays away while the directory is believed', async () => {
    const [inA, inB] = await folder()
    await expect(stat(join(inB, 'f'))).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(join(inA, 'f'), '')
    await expect(stat(join(inB, 'f'))).rejects.toMatchObject({ code: 'ENOENT' })
    // A change of its own tells this client what the directory was like before: somebody else was there.
    await writeFile(join(inB, 'g'), '')
    await expect.poll(() => stat(join(inB, 'f')).then(({ size }) => size, String)).toBe(0)
  })

  test('what another client makes in a directory of ours is there, however new the directory is', async () => {
    const [inA, inB] = await folder()
    for (let n = 0; n < 8; n++) await writeFile(join(inA, `ours${n}`), 'ours')
    for (let n = 0; n < 8; n++) await writeFile(join(inB, `theirs${n}`), 'theirs')
    for (let n = 0; n < 8; n++) expect(await readFile(join(inA, `theirs${n}`), 'utf8')).toBe('theirs')
  })

  test('a name that is gone leads to ESTALE no longer than it takes to ask again', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'old')
    expect((await stat(join(inB, 'f'))).size).toBe(3)
    await unlink(join(inA, 'f'))
    await writeFile(join(inA, 'f'), 'newer')
    expect(await readFile(join(inB, 'f'), 'utf8')).toBe('newer')
  })

  test('a file that its own client removes while it is open gets a silly name until the last close', async () => {
    const [inA] = await folder()
    const file = await open(join(inA, 'f'), 'w+')
    await file.write('kept')
    await unlink(join(inA, 'f'))
    await expect(stat(join(inA, 'f'))).rejects.toMatchObject({ code: 'ENOENT' })
    const [silly = ''] = await readdir(inA)
    expect(silly).toMatch(/^\.nfs[0-9a-f]{24}$/)
    expect((await statusOf(a)).removedWhileOpen).toEqual([`${silly} (was f)`])
    await expect(unlink(join(inA, silly))).rejects.toMatchObject({ code: 'EBUSY' })
    expect((await file.read({ buffer: Buffer.alloc(4), position: 0 })).buffer.toString()).toBe('kept')
    await file.close()
    await rmdir(inA)
  })

  test('a file that is replaced while it is open keeps its content', async () => {
    const [inA] = await folder()
    await writeFile(join(inA, 'f'), 'old')
    await writeFile(join(inA, 'g'), 'new')
    const file = await open(join(inA, 'f'))
    await rename(join(inA, 'g'), join(inA, 'f'))
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('new')
    expect((await file.read({ buffer: Buffer.alloc(3), position: 0 })).buffer.toString()).toBe('old')
    await file.close()
    await expect.poll(() => readdir(inA)).toEqual(['f'])
  })

  test('what another client removes is gone: ESTALE', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), 'soon gone')
    const file = await open(join(inB, 'f'))
    await unlink(join(inA, 'f'))
    await expect(file.read({ buffer: Buffer.alloc(4), position: 0 })).rejects.toMatchObject({ errno: -ESTALE })
    await file.close()
  })

  test('appends of two clients lose a record', async () => {
    const [inA, inB] = await folder()
    await writeFile(join(inA, 'f'), '')
    const [one, other] = await Promise.all([open(join(inA, 'f'), 'a'), open(join(inB, 'f'), 'a')])
    await one.write('aaaa')
    await one.close()
    await other.write('bb')
    await other.close()
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('bbaa')
  })

  test('each knows its own writes, however they are cached', async () => {
    const [inA] = await folder()
    const file = await open(join(inA, 'f'), 'w+')
    await file.write('abcdef')
    await file.write('XY', 2)
    expect((await file.stat()).size).toBe(6)
    await file.truncate(4)
    expect(await readFile(join(inA, 'f'), 'utf8')).toBe('abXY')
    await file.write('far', 10)
    expect((await stat(join(inA, 'f'))).size).toBe(13)
    await file.close()
    expect(await readFile(join(inA, 'f'))).toEqual(Buffer.from('abXY\0\0\0\0\0\0far'))
    await rm(inA, { recursive: true })
  })

  test('what an operation costs in calls', async () => {
    const [inA, inB] = await folder()
    const path = join(inA, 'f')
    await stat(inA)
    const creating = await callsOf(a, () => fill(path, { blockBytes: 4096, blocks: 1 }))
    // One LOOKUP finds that the name is free; a WRITE that is stable at once needs no COMMIT.
    expect(creating).toEqual({ LOOKUP: 1, CREATE: 1, WRITE: 1 })
    await readFile(path)
    expect(await callsOf(a, () => readFile(path))).toEqual({ GETATTR: 1 })
    expect(await callsOf(a, () => stat(path))).toEqual({})
    await stat(inB)
    expect(await callsOf(b, () => readFile(join(inB, 'f')))).toEqual({ LOOKUP: 1, GETATTR: 1, READ: 1 })
    expect(await callsOf(b, () => readFile(join(inB, 'f')))).toEqual({ GETATTR: 1 })
    // What was closed before is committed at fsync.
    const syncing = await callsOf(a, async () => {
      const file = await open(path)
      await file.sync()
      await file.close()
    })
    expect(syncing).toEqual({ GETATTR: 1, COMMIT: 1 })
    // Names of one directory, with their attributes: one call for all.
    expect(
      await callsOf(b, async () => {
        for (const name of await readdir(inB)) await stat(join(inB, name))
      }),
    ).toEqual({ READDIRPLUS: 1 })
    // Large data goes in large pieces, and is committed once.
    const large = await callsOf(a, () => fill(join(inA, 'large'), { blockBytes: 1 << 20, blocks: 8 }))
    expect(large).toEqual({ LOOKUP: 1, CREATE: 1, WRITE: 8, COMMIT: 1 })
  })
})

/** Runs Python code in `directory`, with the system calls that it names and no others. */
const python = (directory: string, code: string): Promise<string> =>
  run('python3', ['-c', `import os, sys\nos.chdir(sys.argv[1])\n${code}`, directory])

/** As tar unpacks a file, in records of 10 KiB. */
const UNPACK = `
def unpack(name, data):
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    for at in range(0, len(data), 10240): os.write(fd, data[at:at + 10240])
    os.utime(fd, ns=(10**18, 10**18)); os.fchown(fd, 0, 0); os.fchmod(fd, 0o644); os.close(fd)
def content(size): return bytes((at * 7 + size) % 251 for at in range(size))
sizes = [1, 4095, 4096, 4097, 10240, 15000, 30720, 70001]
`

describe('what was written here', () => {
  let lab: NfsLab
  let a: string
  let b: string

  beforeAll(async () => {
    lab = await NfsLab.start()
    ;[a, b] = lab.directories as [string, string]
  })
  afterAll(() => lab?.end())

  test('is not read from the server', async () => {
    await python(a, `${UNPACK}for size in sizes: unpack(f"own{size}", content(size))`)
    const read = `${UNPACK}for size in sizes: assert open(f"own{size}", "rb").read() == content(size), size`
    expect(await callsOf(a, () => python(a, read))).toEqual({ GETATTR: 8 })
    expect(await callsOf(a, () => python(a, read))).toEqual({ GETATTR: 8 })
    // What somebody else wrote costs one READ, up to what the kernel reads ahead.
    expect(await callsOf(b, () => python(b, read))).toMatchObject({ GETATTR: 8, READ: 8 })
  })

  test('is not read from the server under another name either', async () => {
    // As editors and git give files their names, and hard links.
    const rename = `for size in sizes:
    unpack(f"tmp{size}", content(size)); os.rename(f"tmp{size}", f"named{size}")
    unpack(f"old{size}", content(size)); os.link(f"old{size}", f"linked{size}"); os.unlink(f"old{size}")`
    await python(a, `${UNPACK}${rename}`)
    const read = `${UNPACK}for size in sizes:
    for kind in "named", "linked": assert open(f"{kind}{size}", "rb").read() == content(size), size`
    expect(await callsOf(a, () => python(a, read))).toEqual({ GETATTR: 16 })
    await python(b, `${UNPACK}for size in sizes:\n with open(f"named{size}", "r+b") as f: f.write(b"?")`)
    const changed = `${UNPACK}for size in sizes: assert open(f"named{size}", "rb").read()[:1] == b"?", size`
    expect(await callsOf(a, () => python(a, changed))).toEqual({ GETATTR: 8, READ: 8 })
  })

  test('is read again once somebody else has changed it, or asks for what the server has', async () => {
    await python(a, `${UNPACK}for size in sizes: unpack(f"f{size}", content(size))`)
    await python(b, `${UNPACK}for size in sizes:\n with open(f"f{size}", "r+b") as f: f.seek(size - 1); f.write(b"!")`)
    const read = `${UNPACK}for size in sizes: assert open(f"f{size}", "rb").read() == content(size)[:-1] + b"!", size`
    expect((await callsOf(a, () => python(a, read))).READ).toBeGreaterThanOrEqual(8)
    await python(a, `${UNPACK}unpack("direct", content(100))`)
    const direct = `${UNPACK}
import mmap
fd = os.open("direct", os.O_RDONLY | os.O_DIRECT)
room = mmap.mmap(-1, 4096)
assert os.readv(fd, [room]) == 100 and room[:100] == content(100)`
    expect(await callsOf(a, () => python(a, direct))).toMatchObject({ READ: 1 })
  })

  test('and cut off is gone', async () => {
    await python(
      a,
      `${UNPACK}
unpack("cut", content(15000))
os.truncate("cut", 13000)
os.truncate("cut", 14000)
assert open("cut", "rb").read() == content(15000)[:13000] + bytes(1000)
with open("cut", "ab") as f: f.write(b"more")
assert open("cut", "rb").read() == content(15000)[:13000] + bytes(1000) + b"more"`,
    )
  })
})

describe('a listing from the cache', () => {
  let lab: NfsLab

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [] })
  })
  afterAll(() => lab?.end())

  const listed = async (directory: string): Promise<string[]> => (await readdir(directory)).sort()

  test('costs one GETATTR, or none with nocto', async () => {
    const cto = await lab.mount([LONG])
    const nocto = await lab.mount([LONG, 'nocto'])
    await mkdir(join(cto, 'd'))
    for (const name of ['one', 'two']) await writeFile(join(cto, 'd', name), '')
    for (const mount of [cto, nocto]) {
      await stat(join(mount, 'd'))
      expect(await callsOf(mount, () => listed(join(mount, 'd')))).toEqual({ READDIRPLUS: 1 })
    }
    for (let again = 0; again < 2; again++) {
      expect(await callsOf(cto, () => listed(join(cto, 'd')))).toEqual({ GETATTR: 1 })
      expect(await callsOf(nocto, () => listed(join(nocto, 'd')))).toEqual({})
    }
  })

  test('shows own changes at once, and those of others at the next open', async () => {
    const [a, b] = [await lab.mount([LONG]), await lab.mount([LONG])]
    const [inA, inB] = [join(a, 'changing'), join(b, 'changing')]
    await mkdir(inA)
    const see = async (...names: string[]): Promise<void> => {
      // The second time from the cache.
      for (let again = 0; again < 2; again++) for (const side of [inA, inB]) expect(await listed(side)).toEqual(names)
    }
    await see()
    await writeFile(join(inA, 'one'), '')
    await see('one')
    await writeFile(join(inB, 'two'), '')
    await see('one', 'two')
    await rename(join(inA, 'two'), join(inA, 'three'))
    await see('one', 'three')
    await mkdir(join(inB, 'four'))
    await rename(join(inB, 'three'), join(inB, 'four', 'three'))
    await see('four', 'one')
    await unlink(join(inA, 'one'))
    await see('four')
    // Of this removal the kernel does not know: the silly name goes with the last close.
    const file = await open(join(inA, 'five'), 'w')
    await unlink(join(inA, 'five'))
    expect((await listed(inA)).length).toBe(2)
    expect((await listed(inA)).length).toBe(2)
    await file.close()
    await expect.poll(() => listed(inA)).toEqual(['four'])
    await see('four')
  })

  test('nocto: shows the change of another when the attributes are not believed any more, also to who keeps it open', async () => {
    const [a, b] = [await lab.mount([]), await lab.mount(['nocto', 'actimeo=2'])]
    await mkdir(join(a, 'slow'))
    await writeFile(join(a, 'slow', 'one'), '')
    await python(
      b,
      `
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.rewinddir.argtypes = libc.readdir.argtypes = [ctypes.c_void_p]
directory = libc.opendir(b"slow")
def names():
    libc.rewinddir(directory)
    found = set()
    while entry := libc.readdir(directory): found.add(ctypes.string_at(entry + 19).decode())
    return found - {".", ".."}
assert names() == names() == {"one"}
open("${join(a, 'slow', 'two')}", "w").close()
end = time.monotonic() + 20
while names() != {"one", "two"}: assert time.monotonic() < end, names(); time.sleep(0.1)`,
    )
    await writeFile(join(a, 'slow', 'three'), '')
    await expect.poll(() => listed(join(b, 'slow')), { timeout: 20_000 }).toEqual(['one', 'three', 'two'])
  })

  test('of many names, whose attributes are then asked for one by one, costs few calls', async () => {
    const [a, b] = [await lab.mount([LONG]), await lab.mount([LONG])]
    await python(
      a,
      'os.mkdir("many")\nfor at in range(1000): os.close(os.open(f"many/{at}", os.O_CREAT | os.O_WRONLY))',
    )
    await python(b, 'assert len(os.listdir("many")) == 1000')
    const { LOOKUP, READDIRPLUS, ...others } = await callsOf(b, () =>
      python(b, 'for name in os.listdir("many"): assert os.stat(f"many/{name}").st_size == 0'),
    )
    expect(others).toEqual({ GETATTR: 1 })
    expect(LOOKUP).toBeLessThanOrEqual(16)
    expect(READDIRPLUS).toBeLessThanOrEqual(5)
  })
})

describe('NFS mount options', () => {
  let lab: NfsLab
  let writer: string

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [[]] })
    writer = lab.directories[0] as string
  })
  afterAll(() => lab?.end())

  test('noac: attributes are asked for each time, and writes are on the server at once', async () => {
    const mount = await lab.mount(['noac'])
    await writeFile(join(writer, 'f'), 'one')
    expect((await stat(join(mount, 'f'))).size).toBe(3)
    await writeFile(join(writer, 'f'), 'longer')
    expect((await stat(join(mount, 'f'))).size).toBe(6)
    const file = await open(join(mount, 'f'), 'r+')
    await file.write('L', 0)
    expect(await readFile(join(writer, 'f'), 'utf8')).toBe('Longer')
    await file.close()
  })

  test('actimeo=1: what is stale gets right by itself', async () => {
    const mount = await lab.mount(['actimeo=1'])
    await writeFile(join(writer, 'g'), 'one')
    expect((await stat(join(mount, 'g'))).size).toBe(3)
    await writeFile(join(writer, 'g'), 'longer')
    await expect.poll(async () => (await stat(join(mount, 'g'))).size, { timeout: 20_000 }).toBe(6)
  })

  test('lookupcache=positive: what was not there is asked for again', async () => {
    const mount = await lab.mount([LONG, 'lookupcache=positive'])
    await expect(stat(join(mount, 'h'))).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(join(writer, 'h'), '')
    expect((await stat(join(mount, 'h'))).size).toBe(0)
  })

  test('lookupcache=none: each name is asked for, listed or not', async () => {
    const mount = await lab.mount([LONG, 'lookupcache=none'])
    const make = 'os.mkdir("asked")\nfor at in range(40): os.close(os.open(f"asked/{at}", os.O_CREAT | os.O_WRONLY))'
    await python(writer, make)
    const look = 'for name in os.listdir("asked"): os.stat(f"asked/{name}")'
    await python(mount, look)
    const { LOOKUP, READDIRPLUS } = await callsOf(mount, () => python(mount, look))
    expect(LOOKUP).toBeGreaterThanOrEqual(40)
    expect(READDIRPLUS).toBe(undefined)
  })

  test('nocto: an open believes what it knows', async () => {
    const mount = await lab.mount([LONG, 'nocto'])
    await writeFile(join(writer, 'n'), 'one')
    expect(await readFile(join(mount, 'n'), 'utf8')).toBe('one')
    await writeFile(join(writer, 'n'), 'two')
    expect(await callsOf(mount, () => readFile(join(mount, 'n')))).toEqual({})
    expect(await readFile(join(mount, 'n'), 'utf8')).toBe('one')
  })

  test('proto=udp: small transfers, and all the same', async () => {
    const mount = await lab.mount(['proto=udp'])
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))
    await writeFile(join(mount, 'u'), content)
    expect(await readFile(join(writer, 'u'))).toEqual(content)
    await writeFile(join(writer, 'v'), content)
    expect(await readFile(join(mount, 'v'))).toEqual(content)
  })
})

describe('files that stay open', () => {
  let lab: NfsLab
  let writer: string
  let timed: string
  let noac: string
  let zero: string

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [[], ['actimeo=1'], ['noac'], ['actimeo=0']] })
    ;[writer, timed, noac, zero] = lab.directories as [string, string, string, string]
  })
  afterAll(() => lab?.end())

  const readThree = async (file: FileHandle): Promise<string> =>
    (await file.read({ buffer: Buffer.alloc(3), position: 0 })).buffer.toString()

  test('actimeo=1: reads get right by themselves, although they stay within the file', async () => {
    await writeFile(join(writer, 'o'), 'one')
    const file = await open(join(timed, 'o'))
    expect(await readThree(file)).toBe('one')
    await writeFile(join(writer, 'o'), 'two')
    await expect.poll(() => readThree(file), { timeout: 30_000 }).toBe('two')
    // Once more: the pages were read anew.
    await writeFile(join(writer, 'o'), 'six')
    await expect.poll(() => readThree(file), { timeout: 30_000 }).toBe('six')
    await file.close()
  })

  test('actimeo=1: so does what is mapped', async () => {
    await writeFile(join(writer, 'm'), 'one')
    const script = `import mmap, os, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
pages = mmap.mmap(file, 3, prot=mmap.PROT_READ)
os.close(file)
print(pages[:].decode(), flush=True)
with open(sys.argv[2], 'w') as other: other.write('two')
while pages[:] != b'two': time.sleep(0.1)
print('two', flush=True)`
    expect(await run('python3', ['-c', script, join(timed, 'm'), join(writer, 'm')])).toBe('one\ntwo\n')
  })

  test.each(['noac', 'actimeo=0'])('%s: each read reaches the server', async (option) => {
    const mount = option === 'noac' ? noac : zero
    const name = `r-${option}`
    await writeFile(join(writer, name), 'one')
    const file = await open(join(mount, name), 'r+')
    expect(await readThree(file)).toBe('one')
    await writeFile(join(writer, name), 'two')
    expect(await readThree(file)).toBe('two')
    await file.write('T', 0)
    expect(await readThree(file)).toBe('Two')
    await file.close()
  })
})
