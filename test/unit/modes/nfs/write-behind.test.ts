import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NO_HANDLE, WriteBehind } from '../../../../src/modes/nfs/write-behind.ts'
import { WriteBudget } from '../../../../src/modes/nfs/write-budget.ts'
import type { WriteBehindOptions, WriteEffect } from '../../../../src/modes/nfs/write-types.ts'
import { random, seed } from '../../../support/random.ts'
import { World } from './write-behind-world.ts'

const KIB = 1024
const MIB = 1024 * KIB

function machine(options: Partial<WriteBehindOptions> = {}) {
  const budget = new WriteBudget({ limitBytes: 256 * MIB })
  const file = new WriteBehind({ writeBytes: MIB, budget, ...options })
  file.opened(1)
  return { file, budget }
}

const writes = (effects: readonly WriteEffect[]) =>
  effects.flatMap((effect) => (effect.type === 'write' ? [[effect.offset, effect.length, effect.stability]] : []))

function only<T extends WriteEffect['type']>(effects: readonly WriteEffect[], type: T) {
  const found = effects.filter((effect): effect is Extract<WriteEffect, { type: T }> => effect.type === type)
  assert.equal(found.length, 1, `one ${type} in ${JSON.stringify(effects.map((effect) => effect.type))}`)
  return found[0] as Extract<WriteEffect, { type: T }>
}

const unstable = (count: number, verifier = 1n) => ({ count, committed: 'unstable', verifier }) as const

describe('what is sent', () => {
  test('small writes gather; a full WRITE goes out by itself', () => {
    const { file } = machine()
    for (let at = 0; at < MIB - 4 * KIB; at += 4 * KIB) expect(file.write(at, Buffer.alloc(4 * KIB))).toEqual([])
    expect(writes(file.write(MIB - 4 * KIB, Buffer.alloc(8 * KIB)))).toEqual([[0, MIB, 'unstable']])
    expect(file.facts()).toEqual({ dirtyBytes: 4 * KIB, sentBytes: MIB, uncommittedBytes: 0 })
  })

  test('a small file is one WRITE that is stable at once, and no COMMIT', () => {
    const { file } = machine()
    file.write(0, Buffer.from('hello '))
    file.write(6, Buffer.from('world'))
    const { ticket, effects } = file.flush(1, 'stable')
    expect(writes(effects)).toEqual([[0, 11, 'fileSync']])
    const { request, pieces } = only(effects, 'write')
    expect(Buffer.concat(pieces).toString()).toBe('hello world')
    expect(file.written(request, { count: 11, committed: 'fileSync', verifier: 1n })).toEqual([
      { type: 'flushed', ticket },
      { type: 'freed' },
    ])
    expect(file.idle).toBe(true)
  })

  test('fsync wants a COMMIT: a server may be set up to call a WRITE stable that is not', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    const { ticket, effects } = file.flush(1, 'committed')
    expect(writes(effects)).toEqual([[0, 3, 'unstable']])
    const commit = only(file.written(only(effects, 'write').request, unstable(3)), 'commit')
    expect(file.committed(commit.request, 1n)).toContainEqual({ type: 'flushed', ticket })
  })

  test('a large one is many, and one COMMIT', () => {
    const { file } = machine()
    const effects = [...file.write(100, Buffer.alloc(3 * MIB)), ...file.flush(1, 'stable').effects]
    expect(writes(effects)).toEqual([
      [100, MIB - 100, 'unstable'],
      [MIB, MIB, 'unstable'],
      [2 * MIB, MIB, 'unstable'],
      [3 * MIB, 100, 'unstable'],
    ])
    const answers = effects.map((effect) =>
      effect.type === 'write' ? file.written(effect.request, unstable(effect.length)) : [],
    )
    expect(answers.slice(0, 3).flat()).toEqual([])
    const commit = only(answers[3] ?? [], 'commit')
    expect(commit).toMatchObject({ offset: 100, length: 3 * MIB })
    expect(file.committed(commit.request, 1n).map(({ type }) => type)).toEqual(['flushed', 'freed'])
  })

  test('so many at once and no more', () => {
    const { file } = machine({ maxUnderWay: 2 })
    const effects = file.write(0, Buffer.alloc(4 * MIB))
    expect(writes(effects).map(([offset]) => offset)).toEqual([0, MIB])
    const [first] = effects
    assert(first?.type === 'write')
    expect(writes(file.written(first.request, unstable(MIB))).map(([offset]) => offset)).toEqual([2 * MIB])
  })

  test('bytes that are under way wait for the answer before they are sent anew', () => {
    const { file } = machine()
    file.write(0, Buffer.from('aaaa'))
    const { request } = only(file.flush(NO_HANDLE, 'server').effects, 'write')
    expect(file.write(2, Buffer.from('bbbb'))).toEqual([])
    expect(file.flush(NO_HANDLE, 'server').effects).toEqual([])
    const later = only(file.written(request, unstable(4)), 'write')
    expect([later.offset, Buffer.concat(later.pieces).toString()]).toEqual([2, 'bbbb'])
  })

  test('the rest of a short write is sent again; a server that takes nothing is broken', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abcdefgh'))
    const first = only(file.flush(NO_HANDLE, 'server').effects, 'write')
    const second = only(file.written(first.request, unstable(3)), 'write')
    expect([second.offset, Buffer.concat(second.pieces).toString()]).toEqual([3, 'defgh'])
    expect(file.written(second.request, unstable(0))).toContainEqual({ type: 'lost', offset: 3, length: 5 })
  })

  test('who asks for attributes waits for what was written before, not for what comes after', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    const { ticket, effects } = file.flush(NO_HANDLE, 'server')
    const { request } = only(effects, 'write')
    expect(file.write(3, Buffer.from('def'))).toEqual([])
    expect(file.written(request, unstable(3))).toEqual([{ type: 'flushed', ticket }])
    expect(file.facts()).toEqual({ dirtyBytes: 3, sentBytes: 0, uncommittedBytes: 3 })
  })

  test('nor for what is written over it again and again', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    const { ticket, effects } = file.flush(NO_HANDLE, 'server')
    expect(file.write(0, Buffer.from('def'))).toEqual([])
    expect(file.written(only(effects, 'write').request, unstable(3))).toContainEqual({ type: 'flushed', ticket })
  })

  test('but for the rest of a short write', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abcdef'))
    const { ticket, effects } = file.flush(NO_HANDLE, 'server')
    const rest = only(file.written(only(effects, 'write').request, unstable(3)), 'write')
    expect(file.written(rest.request, unstable(3))).toEqual([{ type: 'flushed', ticket }])
  })

  test('nothing is sent or reported twice for an answer that comes twice', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    const { request } = only(file.flush(NO_HANDLE, 'server').effects, 'write')
    file.written(request, unstable(3))
    expect(file.written(request, unstable(3))).toEqual([])
    expect([file.failed(request, 'EIO'), file.retry(request), file.committed(99, 1n)]).toEqual([[], [], []])
  })
})

describe('a server that restarts', () => {
  test('between WRITE and COMMIT gets everything again', () => {
    const { file } = machine()
    file.write(0, Buffer.from('precious'))
    const first = only(file.flush(NO_HANDLE, 'server').effects, 'write')
    file.write(MIB, Buffer.from('more'))
    const sent = file.flush(NO_HANDLE, 'server').effects
    expect(writes(sent)).toHaveLength(1)
    file.written(first.request, unstable(8, 1n))
    file.written(only(sent, 'write').request, unstable(4, 2n))
    const { ticket, effects } = file.flush(1, 'stable')
    const commit = only(effects, 'commit')
    // The second WRITE met the new server already, and is safe.
    const again = only(file.committed(commit.request, 2n), 'write')
    expect([again.offset, Buffer.concat(again.pieces).toString()]).toEqual([0, 'precious'])
    expect(again.stability).toBe('fileSync')
    expect(file.written(again.request, { count: 8, committed: 'fileSync', verifier: 2n })).toContainEqual({
      type: 'flushed',
      ticket,
    })
  })

  test('is found out by the next COMMIT, and gets back what it had, even if nobody waits', () => {
    const { file } = machine()
    const { request } = only(file.write(0, Buffer.alloc(MIB)), 'write')
    file.written(request, unstable(MIB, 1n))
    const { ticket, effects } = file.flush(1, 'stable')
    file.abandon(ticket)
    const again = only(file.committed(only(effects, 'commit').request, 2n), 'write')
    expect([again.offset, again.length]).toEqual([0, MIB])
  })

  test('a COMMIT does not cover what was answered after it was sent', () => {
    const { file } = machine()
    file.write(0, Buffer.from('a'))
    file.written(only(file.flush(NO_HANDLE, 'server').effects, 'write').request, unstable(1))
    const commit = only(file.flush(1, 'stable').effects, 'commit')
    // Somebody flushes what this takes the place of: it goes at once.
    const later = only(file.write(0, Buffer.from('b')), 'write')
    file.written(later.request, unstable(1))
    expect(file.committed(commit.request, 1n).map(({ type }) => type)).toEqual(['commit'])
    expect(file.facts().uncommittedBytes).toBe(1)
  })
})

describe('errors', () => {
  test('are told once to each handle that was open, at its next flush', () => {
    const { file } = machine()
    file.opened(2)
    file.write(0, Buffer.from('abc'))
    file.write(MIB, Buffer.from('def'))
    const { ticket, effects } = file.flush(1, 'stable')
    const [first, second] = effects
    assert(first?.type === 'write' && second?.type === 'write')
    expect(file.failed(first.request, 'ENOSPC')).toEqual([{ type: 'lost', offset: 0, length: 3 }, { type: 'freed' }])
    expect(file.failed(second.request, 'EIO')).toContainEqual({ type: 'flushed', ticket, error: 'ENOSPC' })
    file.opened(3)
    const next = (handle: number) => only(file.flush(handle, 'stable').effects, 'flushed').error
    expect([next(1), next(2), next(2), next(3)]).toEqual([undefined, 'ENOSPC', undefined, undefined])
  })

  test('wait for the next who opens the file if nobody was there to hear of them', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    const { request } = only(file.flush(NO_HANDLE, 'server').effects, 'write')
    const { ticket } = file.flush(1, 'stable')
    file.abandon(ticket)
    file.closed(1)
    file.failed(request, 'EDQUOT')
    file.opened(2)
    expect(only(file.flush(2, 'stable').effects, 'flushed').error).toBe('EDQUOT')
  })

  test('of a COMMIT give up what it was for', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    file.written(only(file.flush(NO_HANDLE, 'server').effects, 'write').request, unstable(3))
    const { ticket, effects } = file.flush(1, 'stable')
    expect(file.failed(only(effects, 'commit').request, 'EIO')).toEqual([
      { type: 'lost', offset: 0, length: 3 },
      { type: 'flushed', ticket, error: 'EIO' },
      { type: 'freed' },
    ])
  })
})

describe('truncation', () => {
  test('waits for what is on its way beyond the new end, and cuts what is kept', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abcdef'))
    const effects = file.truncate(2)
    expect(file.admits()).toBe(false)
    const { request } = only(effects, 'write')
    expect(only(file.written(request, unstable(6)), 'truncate').size).toBe(2)
    expect(file.truncated(true)).toContainEqual({ type: 'freed' })
    expect([file.end, file.facts().uncommittedBytes, file.admits()]).toEqual([2, 2, true])
  })

  test('of a file that keeps nothing there is sent at once; if it fails everything stays', () => {
    const { file } = machine()
    file.write(0, Buffer.from('abc'))
    expect(file.truncate(10)).toEqual([{ type: 'truncate', size: 10 }])
    expect(file.flush(NO_HANDLE, 'server').effects).toEqual([])
    file.truncated(false)
    expect(file.end).toBe(3)
    expect(() => {
      file.truncate(1)
      file.write(0, Buffer.from('x'))
    }).toThrow(/while the file is truncated/)
  })
})

describe('memory', () => {
  test('a file that keeps too much sends and commits without being told, and takes no more', () => {
    const { file, budget } = machine({ maxBytes: 4 * MIB, maxUnderWay: 2 })
    const effects = [...file.write(0, Buffer.alloc(2 * MIB)), ...file.write(4 * MIB, Buffer.alloc(2 * MIB))]
    expect(file.admits()).toBe(false)
    expect(budget.bytes).toBe(4 * MIB)
    const requests = effects.flatMap((effect) => (effect.type === 'write' ? [effect.request] : []))
    const answered = requests.flatMap((request) => file.written(request, unstable(MIB)))
    const commit = only(answered, 'commit')
    expect(file.committed(commit.request, 1n)).toContainEqual({ type: 'freed' })
    expect(file.admits()).toBe(true)
    expect(budget.bytes).toBeLessThan(4 * MIB)
  })

  test('all files of a mount share a budget', () => {
    const budget = new WriteBudget({ limitBytes: 64 * KIB })
    const [one, other] = [1, 2].map(() => new WriteBehind({ writeBytes: 32 * KIB, budget }))
    assert(one && other)
    expect(one.write(0, Buffer.alloc(30 * KIB))).toEqual([])
    expect(writes(other.write(0, Buffer.alloc(34 * KIB)))).toHaveLength(1)
    expect([budget.pressed, budget.full, one.admits()]).toEqual([true, true, false])
    expect(writes(one.relieve())).toHaveLength(1)
  })
})

describe('memory that is kept instead of copied', () => {
  function kept(options: Partial<WriteBehindOptions> = {}) {
    const { file } = machine(options)
    const released: number[] = []
    const write = (at: number, bytes = MIB) => file.write(at, Buffer.alloc(bytes, 1), () => released.push(at))
    return { file, released, write }
  }

  test('is sent as it is, and given back when the server has it for good', () => {
    const { file, released } = kept()
    const data = Buffer.alloc(MIB, 1)
    const sent = only(
      file.write(0, data, () => released.push(0)),
      'write',
    )
    expect(sent.pieces).toHaveLength(1)
    expect(sent.pieces[0]?.buffer).toBe(data.buffer)
    file.written(sent.request, unstable(MIB))
    expect(released).toEqual([])
    const commit = only(file.flush(1, 'committed').effects, 'commit')
    expect(released).toEqual([])
    file.committed(commit.request, 1n)
    expect(released).toEqual([0])
  })

  test('is given back piece by piece when several gathered', () => {
    const { file, released, write } = kept({ maxUnderWay: 1 })
    const first = only(write(0), 'write')
    expect([...write(MIB), ...write(2 * MIB)]).toEqual([])
    const stable = { count: MIB, committed: 'fileSync', verifier: 1n } as const
    const second = only(file.written(first.request, stable), 'write')
    expect(released).toEqual([0])
    file.written(second.request, stable)
    expect(released).toEqual([0, MIB])
  })

  test('is not given back if a WRITE was repeated, failed, or was cut or written over', () => {
    const stable = { count: MIB, committed: 'fileSync', verifier: 1n } as const
    const one = kept()
    one.file.written(only(one.write(0), 'write').request, { ...stable, repeated: true })
    one.file.failed(only(one.write(0), 'write').request, 'EIO')
    const again = only(one.file.retry(only(one.write(0), 'write').request), 'write')
    one.file.written(again.request, stable)
    const cut = only(one.write(0), 'write')
    const rest = only(one.file.written(cut.request, { ...stable, count: 4 * KIB }), 'write')
    one.file.written(rest.request, { ...stable, count: rest.length })
    const over = only(one.write(0), 'write')
    one.file.write(0, Buffer.alloc(10))
    one.file.written(over.request, stable)
    expect(one.released).toEqual([])
  })

  test('that lies across what is there already is never given back', () => {
    const { file, released, write } = kept()
    file.write(4 * KIB, Buffer.alloc(4 * KIB))
    const sent = only(write(0), 'write')
    file.written(sent.request, { count: MIB, committed: 'fileSync', verifier: 1n })
    expect(file.idle).toBe(true)
    expect(released).toEqual([])
  })
})

describe(`a server that restarts at any moment (seed ${seed()})`, () => {
  const run = (from: number, options: { errors: boolean; maxUnderWay?: number }) => {
    const world = new World(random(from), options)
    for (let step = 0; step < 250; step++) world.step()
    world.settle()
    return world.counts
  }
  const total = { flushed: 0, write: 0, commit: 0, lost: 0, released: 0 }
  const property = (options: { errors: boolean; maxUnderWay?: number }) =>
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (from) => {
      const counts = run(from, options)
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += counts[key]
    })

  test('loses nothing that a flush has called safe', () => {
    fc.assert(property({ errors: false }), { seed: seed(), numRuns: 300 })
    fc.assert(property({ errors: false, maxUnderWay: 1 }), { seed: seed(), numRuns: 50 })
    expect(total.lost).toBe(0)
    expect(Math.min(total.flushed, total.write, total.commit)).toBeGreaterThan(1000)
    expect(total.released).toBeGreaterThan(200)
  })

  test('and what fails each handle hears of, once', () => {
    fc.assert(property({ errors: true }), { seed: seed(), numRuns: 200 })
    expect(total.lost).toBeGreaterThan(100)
  })
})
