import { describe, expect, it } from 'vitest'
import { DEFAULT_EXPORTS, parseServerOptions } from '../../../../src/modes/nfs/server-options.ts'

const parse = (host: string, ...lines: string[]) =>
  parseServerOptions({ host, options: lines.map((value) => ({ name: 'export', value })) })

describe('what a server exports', () => {
  it('is everything to this machine, or what it was told', () => {
    expect(parse('127.0.0.1').exports).toEqual(DEFAULT_EXPORTS)
    expect(parse('::1', '/export/a', '/export/b').exports.map(({ path }) => path)).toEqual(['/export/a', '/export/b'])
    expect(() => parse('127.0.0.1', '/export/a', '/export/a ::1')).toThrow('--export /export/a is there twice')
    expect(() => parse('localhost')).toThrow('--host needs an IP address to listen on, not "localhost"')
  })

  it('beyond this machine is for addresses that it was told, with root squashed', () => {
    expect(parse('10.0.0.1', '/export 10.0.0.7(rw) 127.0.0.1(no_root_squash)').exports).toHaveLength(1)
    for (const lines of [[], ['/export'], ['/export *(ro)'], ['/export 10.0.0.7 ::/0'], ['/export 1.2.3.4/0']]) {
      for (const host of ['10.0.0.1', '0.0.0.0', '::']) {
        const what = `a server on ${host} needs --export with the addresses of its clients: AUTH_SYS is no authentication`
        expect(() => parse(host, ...lines), `${lines} ${host}`).toThrow(what)
      }
    }
    for (const client of ['10.0.0.7', '127.0.0.0/1']) {
      const line = `/export ::1 ${client}(rw,no_root_squash)`
      expect(() => parse('10.0.0.1', line)).toThrow(
        'may not be told no_root_squash for clients beyond this machine: AUTH_SYS',
      )
    }
    expect(parse('10.0.0.1', '/export 10.0.0.7(no_root_squash,all_squash)').exports).toHaveLength(1)
  })

  it('has a portmapper if it is asked for', () => {
    const portmap = (...values: (string | undefined)[]) =>
      parseServerOptions({
        host: '::1',
        options: values.map((value) => ({ name: 'portmap', ...(value === undefined ? {} : { value }) })),
      }).portmap
    expect([portmap(), portmap(undefined), portmap('1111'), portmap('5', '6')]).toEqual([undefined, 111, 1111, 6])
    for (const port of ['0', '65536', '-1', 'nfs', '1e3']) {
      expect(() => portmap(port)).toThrow('--portmap needs a port from 1 to 65535')
    }
  })
})
