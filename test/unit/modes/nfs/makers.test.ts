import { expect, test } from 'vitest'
import { Makers } from '../../../../src/modes/nfs/makers.ts'

const PID = 5
const DIR = 2

/** What a program is told of a name, by the server or ahead of it. */
function stage() {
  const makers = new Makers()
  const ask = (name: string, pid = PID): 'server' | 'ahead' => {
    const ahead = makers.expects(pid, DIR, name)
    makers.told(pid, DIR, name)
    return ahead ? 'ahead' : 'server'
  }
  const make = (name: string, pid = PID): 'server' | 'ahead' => {
    const asked = ask(name, pid)
    makers.made(pid, DIR, name)
    return asked
  }
  return { makers, ask, make }
}

test('who has made a few names is expected to make the next one, and nobody else', () => {
  const { ask, make } = stage()
  expect(['a', 'b', 'c', 'd', 'e'].map((name) => make(name))).toEqual(['server', 'server', 'server', 'ahead', 'ahead'])
  expect(ask('f', 6)).toBe('server')
})

test('who waits for a name hears one answer at most that is not the server’s', () => {
  const { ask, make } = stage()
  for (const name of ['a', 'b', 'c']) make(name)
  expect([ask('done'), ask('done'), ask('done')]).toEqual(['ahead', 'server', 'server'])
  expect([make('d'), ask('done'), make('e'), ask('done')]).toEqual(['ahead', 'server', 'ahead', 'server'])
})

test('who looks for several names that it does not make has to make some again first', () => {
  const { ask, make } = stage()
  for (const name of ['a', 'b', 'c']) make(name)
  expect(['x', 'y', 'z', 'x', 'y'].map((name) => ask(name))).toEqual(['ahead', 'ahead', 'server', 'server', 'server'])
  expect(make('d')).toBe('server')
})

test('a temporary name may come between a question and its answer', () => {
  const { makers, ask, make } = stage()
  const store = (name: string) => {
    const asked = [ask(name), make(`tmp-${name}`)]
    makers.made(PID, DIR, name)
    return asked
  }
  store('a')
  store('b')
  expect(store('c')).toEqual(['ahead', 'ahead'])
})

test('what is remembered is bounded', () => {
  const { makers } = stage()
  for (let pid = 1; pid < 2000; pid++) for (let i = 0; i < 10; i++) makers.told(pid, DIR, `name${i}`)
  expect(makers.programs).toBeLessThanOrEqual(256)
})
