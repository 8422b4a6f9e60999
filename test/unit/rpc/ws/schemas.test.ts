import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { bytes, list, nothing, procedure, program, text, u64, unsigned } from '../../../../src/rpc/ws/index.ts'
import { check, type Schema } from '../../../../src/rpc/ws/schemas.ts'

const takes = (schema: Schema<unknown>, value: unknown): boolean => !('wrong' in check(schema, value))

describe('schemas', () => {
  it('have limits', () => {
    expect([0, 5, 2 ** 53 - 1].map((value) => takes(unsigned(), value))).toEqual([true, true, true])
    expect([-1, 0.5, 2 ** 53, Number.NaN, '1', 1n].some((value) => takes(unsigned(), value))).toBe(false)
    expect([takes(unsigned(7), 7), takes(unsigned(7), 8)]).toEqual([true, false])
    expect([0n, 2n ** 64n - 1n].every((value) => takes(u64, value))).toBe(true)
    expect([-1n, 2n ** 64n, 1].some((value) => takes(u64, value))).toBe(false)
    expect([takes(text(2), 'é'), takes(text(1), 'é'), takes(text(9), 5)]).toEqual([true, false, false])
    expect([takes(bytes(2), Buffer.alloc(2)), takes(bytes(2), Buffer.alloc(3)), takes(bytes(2), 'ab')]).toEqual([
      true,
      false,
      false,
    ])
    expect([
      takes(list(unsigned(), 2), [1, 2]),
      takes(list(unsigned(), 2), [1, 2, 3]),
      takes(list(unsigned(), 2), ['a']),
    ]).toEqual([true, false, false])
    expect([takes(nothing, null), takes(nothing, undefined), takes(nothing, 0)]).toEqual([true, true, false])
  })

  it('say what is wrong and where, and nothing of the value', () => {
    const schema = v.object({ names: list(v.object({ name: text(5) }), 3) })
    const checked = check(schema, { names: [{ name: 'a' }, { name: 'a secret' }] })
    expect(checked).toEqual({ wrong: 'names.1.name: longer than 5 bytes' })
    expect(check(schema, { names: 7 })).toEqual({ wrong: 'names: no list of up to 3' })
    expect(check(schema, {})).toHaveProperty('wrong')
  })

  it('drop what they do not know', () => {
    expect(check(v.object({ a: unsigned() }), { a: 1, b: 2 })).toEqual({ value: { a: 1 } })
  })
})

describe('a program', () => {
  it('has a number for each procedure', () => {
    const rows = { a: procedure(1, nothing, nothing), b: procedure(1, nothing, nothing) }
    expect(() => program('TWICE', 1, 1, rows)).toThrow(TypeError)
  })

  it('names its procedures', () => {
    const { procedures } = program('ONE', 5, 2, { a: procedure(1, nothing, nothing, { idempotent: false }) })
    expect(procedures.a).toMatchObject({
      name: 'ONE.a',
      program: 5,
      version: 2,
      number: 1,
      idempotent: false,
      bytesIn: false,
    })
  })
})
