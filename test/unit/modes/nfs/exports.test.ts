import { describe, expect, it } from 'vitest'
import {
  Access,
  type AccessOptions,
  ClientList,
  Export,
  type ExportOptions,
  NOBODY,
} from '../../../../src/modes/nfs/exports.ts'

describe('client lists', () => {
  it.each([
    ['127.0.0.1', ['127.0.0.1', '::ffff:127.0.0.1'], ['127.0.0.2', '::1']],
    ['10.0.0.0/8', ['10.0.0.1', '10.255.255.255', '::ffff:10.1.2.3'], ['11.0.0.0', '9.255.255.255', '::10.0.0.1']],
    ['10.1.2.3/8', ['10.200.0.1'], ['11.1.2.3']],
    ['0.0.0.0/0', ['1.2.3.4', '255.255.255.255'], ['::1', 'fe80::1']],
    ['::1', ['::1', '0:0:0:0:0:0:0:1'], ['::2', '127.0.0.1']],
    ['2001:db8::/32', ['2001:db8::1', '2001:0db8:ffff::'], ['2001:db9::1', '32.1.13.184']],
    ['fe80::/10', ['fe80::1%eth0'], ['fec0::1']],
    ['::ffff:10.0.0.1', ['10.0.0.1', '::ffff:10.0.0.1'], ['10.0.0.2']],
  ])('%s', (client, inside, outside) => {
    const list = new ClientList([client])
    for (let time = 0; time < 2; time++) {
      for (const address of inside) expect(list.has(address), address).toBe(true)
      for (const address of outside) expect(list.has(address), address).toBe(false)
    }
  })

  it('stay right for more addresses than they remember', () => {
    const list = new ClientList(['10.0.0.0/8'])
    for (let n = 0; n < 5000; n++) {
      const low = `${(n >> 8) & 255}.${n & 255}`
      expect(list.has(`10.0.${low}`)).toBe(true)
      expect(list.has(`11.0.${low}`)).toBe(false)
    }
  })

  it('have nobody when they are empty, and never somebody without an address', () => {
    expect(new ClientList([]).has('127.0.0.1')).toBe(false)
    for (const address of ['', 'localhost', '127.0.0.1:80', '127.1', '::ffff:', '1.2.3.4.5']) {
      expect(new ClientList(['0.0.0.0/0', '::/0']).has(address), address).toBe(false)
    }
  })

  it.each([
    '',
    'localhost',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/9',
    '10.0.0/8',
    '*',
    '1.2.3.4/0x8',
  ])('refuse %j by name', (client) => {
    expect(() => new ClientList(['127.0.0.1', client])).toThrow(JSON.stringify(client))
  })
})

describe('exports', () => {
  const at = (options: Partial<ExportOptions> = {}) => new Export({ path: '/export', directory: '/', ...options })
  const here = (options: AccessOptions = {}) => new Access(options)
  const user = { uid: 1000, gid: 1000, groups: [50, 0] }
  const superuser = { uid: 0, gid: 0, groups: [0, 4] }
  const nobody = { uid: NOBODY, gid: NOBODY, groups: [] }

  it('squash root unless told otherwise, its group included', () => {
    expect(here().admit(superuser)).toEqual(nobody)
    expect(here().admit(user)).toEqual({ uid: 1000, gid: 1000, groups: [50, NOBODY] })
    expect(here().admit({ uid: 1000, gid: 0, groups: [] })).toEqual({ uid: 1000, gid: NOBODY, groups: [] })
    expect(here().admit(undefined)).toEqual(nobody)
  })

  it('squash all, or none, to whom they are told', () => {
    const anonymous = { anonymousUid: 5, anonymousGid: 6 }
    expect(here({ squash: 'all', ...anonymous }).admit(user)).toEqual({ uid: 5, gid: 6, groups: [] })
    expect(here({ squash: 'none' }).admit(superuser)).toEqual(superuser)
    // Who says nothing is nobody, also where everybody is believed.
    expect(here({ squash: 'none', ...anonymous }).admit(undefined)).toEqual({ uid: 5, gid: 6, groups: [] })
  })

  it('are for this machine alone, and writable, unless told otherwise', () => {
    for (const address of ['127.0.0.1', '::1']) expect(at().accessOf(address)).toMatchObject({ readOnly: false })
    expect(at().accessOf('10.0.0.1')).toBeUndefined()
  })

  it('let the longest prefix decide for whom several lists have', () => {
    const share = at({
      clients: ['10.0.0.0/8'],
      readOnly: true,
      more: [
        { clients: ['10.1.0.0/16'] },
        { clients: ['0.0.0.0/0'], squash: 'all' },
        { clients: ['10.1.2.3'], squash: 'none' },
      ],
    })
    const root = (address: string) => share.accessOf(address)?.admit(superuser).uid
    expect(share.accessOf('10.2.0.1')?.readOnly).toBe(true)
    expect(share.accessOf('10.1.0.1')?.readOnly).toBe(false)
    expect([root('10.1.0.1'), root('10.1.2.3'), share.accessOf('9.9.9.9')?.admit(user).uid]).toEqual([
      NOBODY,
      0,
      NOBODY,
    ])
    expect(share.accessOf('::1')).toBeUndefined()
    expect(share.clients).toEqual(['10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0', '10.1.2.3'])
  })

  it('have a number of their own, the same in every process', () => {
    expect(at().id).toBe(at({ readOnly: true }).id)
    expect(at().id).not.toBe(at({ path: '/other' }).id)
    expect(at().id).not.toBe(at({ directory: '/a' }).id)
  })

  it.each(['', 'export', '/export/', `/${'a'.repeat(1024)}`, '/a\0b', '/\ud800'])('refuse the path %j', (path) => {
    expect(() => at({ path })).toThrow('is no path of an export')
  })
})
