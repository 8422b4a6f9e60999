import { expect, test } from 'vitest'
import { parseServerOptions } from '../../../../src/modes/afs/server-options.ts'

const parse = (host: string, ...files: (string | undefined)[]) =>
  parseServerOptions({
    host,
    options: files.map((value) => ({ name: 'token-file', ...(value === undefined ? {} : { value }) })),
  })

test('a server of this machine needs no token; the last file counts', () => {
  expect(parse('127.0.0.1')).toEqual({})
  expect(parse('::1', '/one', '/two')).toEqual({ tokenFile: '/two' })
})

test('a server beyond it does, and an address', () => {
  for (const host of ['10.0.0.1', '0.0.0.0', '::']) {
    expect(() => parse(host)).toThrow(`a server on ${host} needs --token-file`)
    expect(parse(host, '/token')).toEqual({ tokenFile: '/token' })
  }
  expect(() => parse('localhost')).toThrow('--host needs an IP address to listen on, not "localhost"')
  for (const nothing of ['', undefined]) expect(() => parse('::1', nothing)).toThrow('--token-file needs the path')
})
