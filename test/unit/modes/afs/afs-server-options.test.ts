import { expect, test } from 'vitest'
import { promiseLifeMs } from '../../../../src/modes/afs/promise-life.ts'
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

const told = (...options: { name: string; value?: string }[]) => parseServerOptions({ host: '127.0.0.1', options })

test('without options promises last as long as OpenAFS has them', () => {
  expect(told()).toEqual({})
})

test('a life limits that of every promise, and the last one given counts', () => {
  const { life } = told({ name: 'promise-life', value: '5' }, { name: 'promise-life', value: '900' })
  expect(life?.(1)).toBe(900_000)
  expect(life?.(1, 'RO')).toBe(900_000)
  expect(life?.(100)).toBe(promiseLifeMs(100))
})

test('a break is waited for as long as is said', () => {
  expect(told({ name: 'break-timeout', value: '2' })).toEqual({ breakTimeoutMs: 2000 })
})

test.each(['', '0', '-1', '1.5', 'soon', '86401', '999999999999'])('%j is refused in one line', (value) => {
  for (const name of ['promise-life', 'break-timeout']) {
    expect(() => told({ name, value })).toThrow(`--${name} needs a number of seconds from 1 to 86400`)
  }
})

test('a cell has a name like a domain, and is joined by its address', () => {
  expect(told({ name: 'cell', value: 'example.org' })).toEqual({ cell: 'example.org' })
  expect(told({ name: 'join', value: '[::1]:7000' })).toEqual({ join: '[::1]:7000' })
  for (const value of ['', 'a b', '.org', 'a/b']) {
    expect(() => told({ name: 'cell', value })).toThrow('--cell needs the name of a cell')
  }
  for (const value of ['', 'host', 'host:0', 'a b:1']) {
    expect(() => told({ name: 'join', value })).toThrow('--join needs host:port')
  }
})
