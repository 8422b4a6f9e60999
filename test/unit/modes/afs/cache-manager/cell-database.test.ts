// How cells are found: lines of a CellServDB, and records of the DNS.
import { expect, test } from 'vitest'
import { CellDatabase, parseCellServDb } from '../../../../../src/modes/afs/cache-manager/cell-database.ts'
import { ModeOptionError } from '../../../../../src/modes/mode.ts'

const AFS_PORT = 7000

test('a CellServDB as OpenAFS has it', () => {
  const text = [
    '>example.org            # Example',
    '192.0.2.1               #db1.example.org',
    '[2001:db8::1]:7001',
    '',
    '>other.example # comment',
    'db.other.example:70',
    '>empty.example',
  ]
  expect([...parseCellServDb(text.join('\n'))]).toEqual([
    [
      'example.org',
      [
        { host: '192.0.2.1', port: AFS_PORT },
        { host: '2001:db8::1', port: 7001 },
      ],
    ],
    ['other.example', [{ host: 'db.other.example', port: 70 }]],
    ['empty.example', []],
  ])
})

test('the first mistake is told by its line', () => {
  const mistakes: [string, RegExp][] = [
    ['192.0.2.1', /^CellServDB, line 1: an address before the first cell$/],
    ['>a.example\n\n1.2.3.4:0', /line 3: "1.2.3.4:0" is no address/],
    ['>a.example\na b', /line 2: "a b" is no address/],
    ['>', /line 1: "" is no name of a cell/],
    ['>../x', /line 1: ".*" is no name of a cell/],
    [`>a.example\n${'10.0.0.1\n'.repeat(33)}`, /line 34: more than 32 servers/],
    [Array.from({ length: 1001 }, (_, i) => `>c${i}.example`).join('\n'), /line 1001: more than 1000 cells/],
  ]
  for (const [text, message] of mistakes) {
    expect(() => parseCellServDb(text)).toThrow(ModeOptionError)
    expect(() => parseCellServDb(text)).toThrow(message)
  }
})

/** A DNS that knows what the table has; other names fail with this code. */
function database(table: Record<string, { name: string; port: number; priority: number }[]>, code = 'ENOTFOUND') {
  const asked: string[] = []
  const resolve = async (name: string) => {
    asked.push(name)
    const found = table[name]
    if (found === undefined) throw Object.assign(new Error(`query ${code}`), { code })
    return found
  }
  return { asked, cells: new CellDatabase({ dns: true, resolve }) }
}

test('the DNS is asked for SRV records, the first priority first (RFC 5864)', async () => {
  const { asked, cells } = database({
    '_afs3-vlserver._udp.example.org': [
      { name: 'late.example.org', port: 7003, priority: 20 },
      { name: 'first.example.org', port: 7004, priority: 10 },
    ],
  })
  expect(await cells.addressesOf('example.org')).toEqual([
    { host: 'first.example.org', port: 7004 },
    { host: 'late.example.org', port: 7003 },
  ])
  expect(asked).toEqual(['_afs3-vlserver._udp.example.org'])
})

test('no such cell is no address; a DNS that does not answer is ETIMEDOUT', async () => {
  for (const code of ['ENOTFOUND', 'ENODATA']) {
    expect(await database({}, code).cells.addressesOf('example.org')).toEqual([])
  }
  for (const code of ['ESERVFAIL', 'ETIMEOUT', 'ECONNREFUSED']) {
    await expect(database({}, code).cells.addressesOf('example.org')).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  }
})

test('what is no domain nobody is asked for', async () => {
  const { asked, cells } = database({})
  for (const name of ['', 'nodot', 'a b.c', '../x', `${'a.'.repeat(200)}b`, 'x\0.y']) {
    expect(await cells.addressesOf(name)).toEqual([])
  }
  expect(asked).toEqual([])
  const resolve = () => Promise.reject(new Error('asked'))
  expect(await new CellDatabase({ dns: false, resolve }).addressesOf('example.org')).toEqual([])
})

test('a file that is not there is a mistake of the option', () => {
  const path = `${import.meta.dirname}/no-such-file`
  expect(() => new CellDatabase({ path, dns: false })).toThrow(/^cellservdb=.*no-such-file: ENOENT/)
})
