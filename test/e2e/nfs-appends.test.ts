// Appends of two NFS mounts that destroy each other's bytes: shown, and counted by the mount that did it.
import { appendFile, open, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proteusMain } from '../support/cli.ts'
import { factsOf, NfsLab, statusOf } from '../support/nfs-lab.ts'
import { start } from '../support/run.ts'

const NONE = { overwrites: 0, overwrittenBytes: 0, holes: 0, holeBytes: 0, unjudged: 0 }
const LONG = 'actimeo=3600'

describe('appends of NFS mounts', () => {
  let lab: NfsLab
  let a: string
  let b: string

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [[LONG], [LONG]] })
    ;[a, b] = lab.directories as [string, string]
  })
  afterAll(() => lab?.end())

  test('of one mount are never counted, however much there is under way', async () => {
    const [path, other] = [join(a, 'alone'), join(a, 'alone')]
    const files = await Promise.all([open(path, 'a'), open(other, 'a')])
    const piece = Buffer.alloc(3_000_001, 1)
    for (let n = 0; n < 4; n++) {
      for (const file of files) await file.write(piece)
      if (n % 2 === 0) await files[0].sync()
      await appendFile(path, 'and more')
    }
    await Promise.all(files.map((file) => file.close()))
    await appendFile(path, 'end')
    expect((await readFile(join(b, 'alone'))).length).toBe(8 * piece.length + 4 * 8 + 3)
    expect((await statusOf(a)).appends).toEqual(NONE)
    expect(JSON.parse((await factsOf(path)).appends ?? '')).toEqual(NONE)
  })

  test('lose a record, which is counted, traced and told of the file', async () => {
    await writeFile(join(a, 'log'), '')
    const trace = start(process.execPath, [proteusMain, 'trace', b, '--json'])
    const lines = createInterface({ input: trace.child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
    // The first line: it listens.
    const listening = lines.next()
    let asks = 0
    const asked = async (): Promise<unknown> => {
      await stat(join(b, `no such file ${++asks}`)).catch(() => undefined)
      return Promise.race([listening, 'not yet'])
    }
    await expect.poll(asked, { timeout: 20_000 }).not.toBe('not yet')
    const [one, other] = await Promise.all([open(join(a, 'log'), 'a'), open(join(b, 'log'), 'a')])
    await one.write('aaaa')
    await one.close()
    await other.write('bb')
    await other.close()
    expect(await readFile(join(b, 'log'), 'utf8')).toBe('bbaa')
    const lost = { ...NONE, overwrites: 1, overwrittenBytes: 2 }
    expect((await statusOf(b)).appends).toEqual(lost)
    expect(JSON.parse((await factsOf(join(b, 'log'))).appends ?? '')).toEqual(lost)
    expect((await statusOf(a)).appends).toEqual(NONE)
    let conflict: unknown
    while (conflict === undefined) {
      const { value, done } = await lines.next()
      if (done) throw new Error('the trace ended')
      const event = JSON.parse(value) as { channel: string; op: string }
      if (event.op === 'conflict') conflict = event
    }
    expect(conflict).toMatchObject({ channel: 'cache', cache: 'size', bytes: 2 })
    trace.child.kill()
  })

  test('leave a hole where another has truncated the file', async () => {
    await writeFile(join(a, 'cut'), 'abcdef')
    const file = await open(join(b, 'cut'), 'a')
    await truncate(join(a, 'cut'), 2)
    const before = (await statusOf(b)).appends
    await file.write('XY')
    await file.close()
    expect(await readFile(join(a, 'cut'), 'utf8')).toBe('ab\0\0\0\0XY')
    const { holes, holeBytes, overwrites } = (await statusOf(b)).appends
    expect([holes - before.holes, holeBytes - before.holeBytes, overwrites]).toEqual([1, 4, before.overwrites])
  })

  test('that had to be sent again are unjudged', async () => {
    const c = await lab.mount([LONG, 'timeo=2,retrans=1'])
    await writeFile(join(c, 'f'), 'one')
    const file = await open(join(c, 'f'), 'a')
    await file.write('two')
    await writeFile(join(c, '.proteus/network'), 'down\n')
    const closing = file.close()
    await expect.poll(async () => (await statusOf(c)).responding, { timeout: 20_000 }).toBe(false)
    await writeFile(join(c, '.proteus/network'), 'up\n')
    await closing
    expect(await readFile(join(c, 'f'), 'utf8')).toBe('onetwo')
    expect((await statusOf(c)).appends).toEqual({ ...NONE, unjudged: 1 })
  })
})
