// What a server of mode `afs` may be told of its callback promises.
import { expect, test } from 'vitest'
import { parseCallbackOptions } from '../../../../src/modes/afs/callback-options.ts'
import { promiseLifeMs } from '../../../../src/modes/afs/promise-life.ts'

const parse = (...options: { name: string; value?: string }[]) => parseCallbackOptions({ options })

test('without options promises last as long as OpenAFS has them', () => {
  expect(parse()).toEqual({})
})

test('a life limits that of every promise, and the last one given counts', () => {
  const { life } = parse({ name: 'promise-life', value: '5' }, { name: 'promise-life', value: '900' })
  expect(life?.(1)).toBe(900_000)
  expect(life?.(1, 'RO')).toBe(900_000)
  expect(life?.(100)).toBe(promiseLifeMs(100))
})

test('a break is waited for as long as is said', () => {
  expect(parse({ name: 'break-timeout', value: '2' })).toEqual({ breakTimeoutMs: 2000 })
})

test.each(['', '0', '-1', '1.5', 'soon', '86401', '999999999999'])('%j is refused in one line', (value) => {
  for (const name of ['promise-life', 'break-timeout']) {
    expect(() => parse({ name, value })).toThrow(`--${name} needs a number of seconds from 1 to 86400`)
  }
})
