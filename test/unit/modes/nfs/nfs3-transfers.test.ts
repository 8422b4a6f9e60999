// READ, WRITE and COMMIT, bytes in and bytes out.
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { encode, u32 } from '../../../../src/codec/xdr.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import { NFS3 } from '../../../../src/modes/nfs/nfs3.ts'
import { nfs_fh3 } from '../../../../src/modes/nfs/nfs3-types.ts'
import { NfsServer } from '../../../../src/modes/nfs/server.ts'
import { authSys } from '../../../../src/rpc/onc/auth.ts'
import { tcpChannel } from '../../../../src/rpc/onc/channel.ts'
import { OncClient } from '../../../../src/rpc/onc/client.ts'
import { openTcp } from '../../../../src/rpc/transport.ts'
import { random, seed } from '../../../support/random.ts'
import { alice, bob, callBytes, NOTHING, ok, root, World } from './nfs-world.ts'

const MIB = 1 << 20

async function open(content = '') {
  const world = await World.open()
  const top = await world.mount()
  const file = await world.file(top, 'f', {}, 0o666)
  if (content !== '') await world.write(file, content)
  const read = async (offset: number, count: number, from = {}) =>
    ok(await world.nfs('READ', { file, offset, count }, from))
  return { world, top, file, read }
}

const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** The status of a call whose offset no client of ours would send. */
async function statusAt(world: World, procedure: keyof typeof NFS3.procedures, file: Buffer, parts: Buffer[]) {
  const { number } = NFS3.procedures[procedure]
  const args = Buffer.concat([encode(nfs_fh3, file), ...parts])
  const reply = await world.raw(callBytes({ program: 100003, version: 3, procedure: number, args }))
  expect(reply?.readUInt32BE(20)).toBe(0) // SUCCESS
  return { status: reply?.readUInt32BE(24), reply }
}

describe('READ', () => {
  it('gives what is there, and says where it ends', async () => {
    const { world, file, read } = await open('0123456789')
    const all = await read(0, 10)
    expect(all).toMatchObject({ count: 10, eof: true, data: Buffer.from('0123456789') })
    expect(all.attributes).toEqual(await world.attributes(file))
    expect(await read(0, 9)).toMatchObject({ count: 9, eof: false })
    expect(await read(8, 100)).toMatchObject({ count: 2, eof: true, data: Buffer.from('89') })
    expect(await read(10, 1)).toMatchObject({ count: 0, eof: true })
    expect(await read(1000, 1)).toMatchObject({ count: 0, eof: true })
    expect(await read(3, 0)).toMatchObject({ count: 0, eof: false })
    expect(await read(10, 0)).toMatchObject({ count: 0, eof: true })
  })

  it('is at the end at any offset that a file cannot have', async () => {
    const { world, file } = await open('0123456789')
    for (const offset of [2n ** 44n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      const { status, reply } = await statusAt(world, 'READ', file, [u64(offset), encode(u32, 0xffff_ffff)])
      expect(status, `${offset}`).toBe(0)
      // Attributes (88 bytes), count, eof, length of the data.
      expect(reply?.subarray(28 + 88).toString('hex'), `${offset}`).toBe('000000000000000100000000')
    }
  })

  it(`reads a mebibyte at most, and as much as asked for across the end (seed ${seed()})`, async () => {
    const { world, file, read } = await open()
    const next = random(seed())
    const content = Buffer.from(Array.from({ length: 64 }, () => Math.floor(next() * 256)))
    const data = Buffer.alloc(MIB, content)
    await world.write(file, data)
    await world.write(file, data.subarray(0, 1000), MIB)
    const all = Buffer.concat([data, data.subarray(0, 1000)])
    expect((await read(0, MIB)).data.equals(data)).toBe(true)
    expect(await read(0, 0xffff_ffff)).toMatchObject({ count: MIB, eof: false })
    for (let left = 50; left > 0; left--) {
      const offset = Math.floor(next() * (MIB + 1500))
      const count = Math.floor(next() * MIB)
      const got = await read(offset, count)
      expect(got.data.equals(all.subarray(offset, offset + count)), `${offset} ${count}`).toBe(true)
      expect(got.count).toBe(got.data.length)
      expect(got.eof, `${offset} ${count}`).toBe(offset + got.count >= all.length)
    }
  })

  it('reads the rest from the disk where only the beginning is in memory', async () => {
    const { world, file, read } = await open()
    const { volume } = world
    const data = Buffer.from(Array.from({ length: MIB + 1000 }, (_, at) => at % 251))
    await world.write(file, data.subarray(0, MIB))
    await world.write(file, data.subarray(MIB), MIB)
    for (const cached of [0, 1, 4096, 300_000]) {
      volume.readCached = (content, into, offset) => volume.read(content, into.subarray(0, cached), offset)
      for (const [offset, count] of [
        [0, MIB],
        [77, 100_000],
        [500_000, MIB],
        [MIB, 70_000],
      ] as const) {
        const got = await read(offset, count)
        expect(got.data.equals(data.subarray(offset, offset + count)), `${cached} ${offset}`).toBe(true)
        expect(got.eof).toBe(offset + got.count === data.length)
      }
    }
  })

  it('gives over UDP what a datagram carries', async () => {
    const { world, file, read } = await open()
    await world.write(file, Buffer.alloc(MIB, 'x'))
    expect(await read(0, MIB, { transport: 'udp' })).toMatchObject({ count: 32_768, eof: false })
  })

  it('is of regular files only', async () => {
    const { world, top } = await open()
    ok(await world.nfs('SYMLINK', { where: { dir: top, name: 's' }, attributes: NOTHING, target: 'f' }))
    const what = { type: 'NF3FIFO', attributes: NOTHING } as const
    ok(await world.nfs('MKNOD', { where: { dir: top, name: 'p' }, what }))
    const data = Buffer.from('x')
    for (const name of ['.', 's', 'p']) {
      const file = await world.find(top, name)
      expect(await world.status('READ', { file, offset: 0, count: 1 })).toBe('NFS3ERR_INVAL')
      const write = { file, offset: 0, count: 1, stable: 'UNSTABLE', data } as const
      expect(await world.status('WRITE', write)).toBe('NFS3ERR_INVAL')
    }
    const garbage = { file: Buffer.alloc(36), offset: 0, count: 1 }
    expect(await world.status('READ', garbage)).toBe('NFS3ERR_BADHANDLE')
  })
})

describe('WRITE and COMMIT', () => {
  it('write where they are told, leave holes, and tell before and after', async () => {
    const { world, file, read } = await open('0123456789')
    const before = await world.attributes(file)
    const written = await world.write(file, 'ab', 20)
    const after = await world.attributes(file)
    expect(written).toMatchObject({ count: 2, committed: 'UNSTABLE' })
    expect(written.wcc.before).toEqual({ size: 10, mtime: before.mtime, ctime: before.ctime })
    expect(written.wcc.after).toEqual(after)
    expect(after.size).toBe(22)
    expect((await read(0, 100)).data.toString()).toBe(`0123456789${'\0'.repeat(10)}ab`)
  })

  it('commit as they are asked to, with one verifier until the server starts again', async () => {
    const { world, file } = await open('x')
    const data = Buffer.from('y')
    const write = async (stable: 'UNSTABLE' | 'DATA_SYNC' | 'FILE_SYNC') =>
      ok(await world.nfs('WRITE', { file, offset: 0, count: 1, stable, data }))
    const verifiers: string[] = []
    for (const stable of ['UNSTABLE', 'DATA_SYNC', 'FILE_SYNC'] as const) {
      const { committed, verifier } = await write(stable)
      expect(committed).toBe(stable)
      verifiers.push(verifier.toString('hex'))
    }
    const committed = ok(await world.nfs('COMMIT', { file, offset: 0, count: 0 }))
    verifiers.push(committed.verifier.toString('hex'))
    expect(new Set(verifiers).size).toBe(1)
    expect(committed.wcc.after).toEqual(await world.attributes(file))
    await world.restart()
    const again = ok(await world.nfs('COMMIT', { file, offset: 0, count: 0 })).verifier.toString('hex')
    expect(verifiers).not.toContain(again)
    expect((await write('UNSTABLE')).verifier.toString('hex')).toBe(again)
  })

  it('take a mebibyte, and nothing', async () => {
    const { world, file, read } = await open()
    const data = Buffer.alloc(MIB, 'abc')
    expect(await world.write(file, data, 5)).toMatchObject({ count: MIB })
    expect((await read(5, MIB)).data.equals(data)).toBe(true)
    const before = await world.attributes(file)
    expect(await world.write(file, '', 2 ** 40)).toMatchObject({ count: 0 })
    expect(await world.attributes(file)).toEqual(before)
  })

  it('refuse a count that is not that of the data', async () => {
    const { world, file } = await open('0123')
    const before = await world.attributes(file)
    const data = Buffer.from('xy')
    for (const count of [0, 1, 3, 0xffff_ffff]) {
      const write = { file, offset: 0, count, stable: 'UNSTABLE', data } as const
      expect(await world.status('WRITE', write), `${count}`).toBe('NFS3ERR_INVAL')
    }
    expect(await world.attributes(file)).toEqual(before)
  })

  it('say FBIG where no file can be, COMMIT nothing', async () => {
    const { world, file } = await open('0123')
    const before = await world.attributes(file)
    const one = Buffer.concat([encode(u32, 1), encode(u32, 0), encode(u32, 1), Buffer.from('x\0\0\0')])
    for (const offset of [2n ** 44n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect((await statusAt(world, 'WRITE', file, [u64(offset), one])).status, `${offset}`).toBe(27)
      expect((await statusAt(world, 'COMMIT', file, [u64(offset), encode(u32, 1)])).status, `${offset}`).toBe(0)
    }
    const { mtime: _, ctime: __, ...rest } = before
    expect(await world.attributes(file)).toMatchObject(rest)
    expect(await world.status('COMMIT', { file: Buffer.alloc(36), offset: 0, count: 0 })).toBe('NFS3ERR_BADHANDLE')
  })

  it('are the owner’s whatever the mode, and others’ as the mode says', async () => {
    const { world, file } = await open('secret')
    const chmod = (mode: number) =>
      world.nfs('SETATTR', { object: file, changes: { ...NOTHING, mode, uid: 1000 }, guard: undefined })
    const tried = async (who: typeof root) => {
      const read = await world.status('READ', { file, offset: 0, count: 6 }, { who })
      const data = Buffer.from('s')
      const write = { file, offset: 0, count: 1, stable: 'UNSTABLE', data } as const
      return [read, await world.status('WRITE', write, { who })]
    }
    ok(await chmod(0))
    expect(await tried(alice)).toEqual(['NFS3_OK', 'NFS3_OK'])
    expect(await tried(root)).toEqual(['NFS3_OK', 'NFS3_OK'])
    expect(await tried(bob)).toEqual(['NFS3ERR_ACCES', 'NFS3ERR_ACCES'])
    ok(await chmod(0o604))
    expect(await tried(bob)).toEqual(['NFS3_OK', 'NFS3ERR_ACCES'])
    ok(await chmod(0o602))
    expect(await tried(bob)).toEqual(['NFS3ERR_ACCES', 'NFS3_OK'])
    // What may be executed has to be read for it.
    ok(await chmod(0o601))
    expect(await tried(bob)).toEqual(['NFS3_OK', 'NFS3ERR_ACCES'])
  })

  it('take the set-id bits away, unless root writes or nothing is written', async () => {
    const { world, file } = await open('x')
    const changes = { ...NOTHING, mode: 0o6777, uid: 1000 }
    const mode = async () => (await world.attributes(file)).mode
    ok(await world.nfs('SETATTR', { object: file, changes, guard: undefined }))
    await world.write(file, 'y')
    await world.write(file, '', 0, { who: bob })
    expect(await mode()).toBe(0o6777)
    await world.write(file, 'y', 0, { who: bob })
    expect(await mode()).toBe(0o777)
  })
})

describe('over a connection', () => {
  it('what was read stays what it is, on both sides, until it was sent and given back', async () => {
    const directory = mkdtempSync(join(inject('testRoot'), 'nfs-'))
    const server = await NfsServer.start({ directory, host: '127.0.0.1', port: 0 })
    const address = { host: server.host, port: server.port }
    const credential = authSys({ stamp: 0, machineName: 'test', uid: 0, gid: 0, gids: [] })
    const client = new OncClient(tcpChannel(address, openTcp(address)), { credential })
    try {
      const { procedures } = NFS3
      const mounted = await client.call(MOUNT3.procedures.MNT, '/export')
      if (mounted.status !== 'MNT3_OK') throw new Error(mounted.status)
      const how = { mode: 'UNCHECKED', attributes: NOTHING } as const
      const made = await client.call(procedures.CREATE, { where: { dir: mounted.handle, name: 'f' }, how })
      if (made.status !== 'NFS3_OK' || made.object === undefined) throw new Error(made.status)
      const file = Buffer.from(made.object)
      const count = 24
      const block = (n: number) => Buffer.alloc(MIB, `block ${n};`)
      const written = Array.from({ length: count }, (_, n) =>
        client.call(procedures.WRITE, { file, offset: n * MIB, count: MIB, stable: 'UNSTABLE', data: block(n) }),
      )
      for (const { status } of await Promise.all(written)) expect(status).toBe('NFS3_OK')
      for (let round = 0; round < 3; round++) {
        const read = Array.from({ length: count }, async (_, n) => {
          const result = await client.call(procedures.READ, { file, offset: n * MIB, count: MIB })
          if (result.status !== 'NFS3_OK') throw new Error(result.status)
          // Every other one is given back at once, while the rest is still to come.
          expect(result.data.equals(block(n)), `${n}`).toBe(true)
          if (n % 2 === 0) client.release(result.data)
          return result.data
        })
        for (const [n, data] of (await Promise.all(read)).entries()) {
          if (n % 2 === 0) continue
          expect(data.equals(block(n)), `${n}`).toBe(true)
          client.release(data)
        }
      }
    } finally {
      client.close()
      await server.close()
    }
  })
})

describe('a server that ends', () => {
  it('while it reads and syncs, answers those calls or fails them, and nothing else', async () => {
    const { world, file } = await open()
    const data = Buffer.alloc(MIB, 'x')
    await world.write(file, data)
    const calls = Array.from({ length: 16 }, () => [
      world.status('READ', { file, offset: 0, count: MIB }),
      world.status('WRITE', { file, offset: 0, count: 1, stable: 'FILE_SYNC', data: data.subarray(0, 1) }),
      world.status('COMMIT', { file, offset: 0, count: 0 }),
    ]).flat()
    await world.volume.close()
    for (const status of await Promise.all(calls)) expect(['NFS3_OK', 'NFS3ERR_IO', 'NFS3ERR_INVAL']).toContain(status)
    expect(await world.status('GETATTR', { object: file })).toBe('NFS3ERR_IO')
  })
})
