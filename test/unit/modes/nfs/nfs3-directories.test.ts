// READDIR and READDIRPLUS, bytes in and bytes out.
import { describe, expect, it } from 'vitest'
import { NFS3 } from '../../../../src/modes/nfs/nfs3.ts'
import { alice, bob, ok, root, World, ZERO8 } from './nfs-world.ts'

async function open(files = 0) {
  const world = await World.open()
  const top = await world.mount()
  const dir = await world.folder(top, 'd', {}, 0o777)
  const names: string[] = []
  for (let n = 0; n < files; n++) {
    const name = `${'ü'.repeat(n % 60)}${n}`
    world.volume.create(await inoOf(world, dir), name, { mode: 0o100644 }, root)
    names.push(name)
  }
  return { world, top, dir, names }
}

const inoOf = async (world: World, object: Buffer) => (await world.attributes(object)).fileid

/** Lists with replies of so many bytes, from a cookie on. */
async function list(world: World, dir: Buffer, count: number, cookie = 0n, between = async () => {}) {
  const names: string[] = []
  const cookies: bigint[] = []
  for (let after = cookie; ; ) {
    const read = ok(await world.nfs('READDIR', { dir, cookie: after, verifier: ZERO8, count }))
    for (const entry of read.entries) {
      names.push(entry.name)
      cookies.push(entry.cookie)
      after = entry.cookie
    }
    if (read.eof) return { names, cookies }
    await between()
  }
}

async function listPlus(world: World, dir: Buffer, dircount: number, maxcount: number, from = {}) {
  const entries = []
  for (let cookie = 0n; ; ) {
    const args = { dir, cookie, verifier: ZERO8, dircount, maxcount }
    const read = ok(await world.nfs('READDIRPLUS', args, from))
    entries.push(...read.entries.map((entry) => ({ ...entry, handle: entry.handle && Buffer.from(entry.handle) })))
    if (read.eof) return entries
    cookie = read.entries.at(-1)?.cookie ?? 0n
  }
}

describe('READDIR', () => {
  it('lists an empty directory, with itself and its parent', async () => {
    const { world, top, dir } = await open()
    const read = ok(await world.nfs('READDIR', { dir, cookie: 0n, verifier: ZERO8, count: 4096 }))
    expect(read.entries.map(({ name, fileid }) => [name, fileid])).toEqual([
      ['.', await inoOf(world, dir)],
      ['..', await inoOf(world, top)],
    ])
    expect(read).toMatchObject({ eof: true, directory: await world.attributes(dir) })
    const last = read.entries.at(-1)?.cookie ?? 0n
    const rest = ok(await world.nfs('READDIR', { dir, cookie: last, verifier: ZERO8, count: 4096 }))
    expect(rest).toMatchObject({ entries: [], eof: true })
  })

  it('lists everything once with replies of any size, none larger than asked for', async () => {
    const { world, dir, names } = await open(300)
    const expected = ['.', '..', ...names].sort()
    for (const count of [300, 512, 4096, 65_536, 1 << 20, 0xffff_ffff]) {
      const listed = await list(world, dir, count)
      expect(listed.names.toSorted(), `${count}`).toEqual(expected)
      const args = { dir, cookie: 0n, verifier: ZERO8, count }
      const reply = await world.raw(world.bytesOf(NFS3.procedures.READDIR, args, { who: root }))
      // Before the result: 24 bytes of the RPC layer, and the status.
      expect((reply?.length ?? 0) - 28, `${count}`).toBeLessThanOrEqual(count)
    }
  })

  it('goes on from each cookie', async () => {
    const { world, dir } = await open(40)
    const { names, cookies } = await list(world, dir, 1 << 20)
    for (const [at, cookie] of cookies.entries())
      expect((await list(world, dir, 512, cookie)).names).toEqual(names.slice(at + 1))
  })

  it('neither hides nor repeats what stays while the directory changes', async () => {
    const { world, dir, names } = await open(120)
    const doomed = names.filter((_, n) => n % 3 === 0)
    let made = 0
    const listed = await list(world, dir, 400, 0n, async () => {
      const name = doomed.pop()
      if (name !== undefined) ok(await world.nfs('REMOVE', { object: { dir, name } }))
      await world.file(dir, `new${made++}`)
    })
    const stayed = names.filter((_, n) => n % 3 !== 0)
    expect(listed.names.filter((name) => stayed.includes(name)).toSorted()).toEqual(stayed.toSorted())
    expect(new Set(listed.names).size).toBe(listed.names.length)
    await world.restart()
    const rest = await list(world, dir, 400, listed.cookies[10])
    expect(rest.names).toEqual((await list(world, dir, 1 << 20)).names.slice(-rest.names.length))
  })

  it('says what is wrong', async () => {
    const { world, top, dir } = await open(3)
    const read = (args: object, from = {}) =>
      world.status('READDIR', { dir, cookie: 0n, verifier: ZERO8, count: 4096, ...args }, from)
    for (const count of [0, 1, 100, 131]) expect(await read({ count }), `${count}`).toBe('NFS3ERR_TOOSMALL')
    const cookie = (await list(world, dir, 4096)).cookies[2]
    expect(await read({ cookie, verifier: Buffer.alloc(8, 1) })).toBe('NFS3ERR_BAD_COOKIE')
    expect(await read({ cookie: 2n ** 64n - 1n })).toBe('NFS3ERR_BAD_COOKIE')
    expect(await read({ cookie: 2n ** 53n })).toBe('NFS3ERR_BAD_COOKIE')
    expect(await read({ cookie: 12_345n })).toBe('NFS3_OK')
    // The verifier of a listing that begins is not looked at.
    expect(await read({ verifier: Buffer.alloc(8, 1) })).toBe('NFS3_OK')
    expect(await read({ dir: await world.file(top, 'f') })).toBe('NFS3ERR_NOTDIR')
    expect(await read({ dir: Buffer.alloc(36) })).toBe('NFS3ERR_BADHANDLE')
    const closed = await world.folder(top, 'closed', {}, 0o711)
    expect(await read({ dir: closed }, { who: bob })).toBe('NFS3ERR_ACCES')
  })

  it('stays within a datagram over UDP', async () => {
    const { world, dir } = await open(1200)
    const count = 1 << 20
    const from = { transport: 'udp' } as const
    const read = ok(await world.nfs('READDIR', { dir, cookie: 0n, verifier: ZERO8, count }, from))
    expect(read.eof).toBe(false)
    const plus = { dir, cookie: 0n, verifier: ZERO8, dircount: count, maxcount: count }
    expect(ok(await world.nfs('READDIRPLUS', plus, from)).eof).toBe(false)
  })
})

describe('READDIRPLUS', () => {
  it('tells handles and attributes as LOOKUP does, with replies of any size', async () => {
    const { world, dir, names } = await open(150)
    for (const [dircount, maxcount] of [
      [0, 4096],
      [1, 600],
      [512, 8192],
      [8192, 32_768],
      [0xffff_ffff, 0xffff_ffff],
    ] as const) {
      const entries = await listPlus(world, dir, dircount, maxcount)
      expect(entries.map(({ name }) => name).toSorted()).toEqual(['.', '..', ...names].sort())
      if (dircount !== 512) continue
      for (const entry of entries) {
        const found = ok(await world.nfs('LOOKUP', { what: { dir, name: entry.name } }))
        expect(entry).toMatchObject({ attributes: found.attributes, fileid: found.attributes?.fileid })
        expect(entry.handle).toEqual(Buffer.from(found.object))
      }
    }
    const args = { dir, cookie: 0n, verifier: ZERO8, dircount: 1 << 20, maxcount: 5000 }
    const reply = await world.raw(world.bytesOf(NFS3.procedures.READDIRPLUS, args, { who: root }))
    expect((reply?.length ?? 0) - 28).toBeLessThanOrEqual(5000)
  })

  it('says TOOSMALL and BAD_COOKIE as READDIR does', async () => {
    const { world, dir } = await open(3)
    const read = (args: object) =>
      world.status('READDIRPLUS', { dir, cookie: 0n, verifier: ZERO8, dircount: 512, maxcount: 4096, ...args })
    for (const maxcount of [0, 100, 250]) expect(await read({ maxcount }), `${maxcount}`).toBe('NFS3ERR_TOOSMALL')
    expect(await read({ cookie: 1n, verifier: Buffer.alloc(8, 1) })).toBe('NFS3ERR_BAD_COOKIE')
    expect(await read({ cookie: 2n ** 64n - 1n })).toBe('NFS3ERR_BAD_COOKIE')
  })

  it('gives no handles to who may only read the names', async () => {
    const { world, top } = await open()
    const dir = await world.folder(top, 'names', {}, 0o744)
    await world.file(dir, 'f', {}, 0o666)
    const entries = await listPlus(world, dir, 4096, 8192, { who: alice })
    expect(entries.map(({ name }) => name)).toEqual(['.', '..', 'f'])
    for (const entry of entries) expect(entry).toMatchObject({ handle: undefined, attributes: undefined })
    expect(await world.status('LOOKUP', { what: { dir, name: 'f' } }, { who: alice })).toBe('NFS3ERR_ACCES')
  })
})
