import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError, EncodeError } from '../../../../src/codec/errors.ts'
import {
  encodeAnswer,
  encodeCall,
  encodeCancel,
  encodeCredit,
  encodeFailure,
  encodeNote,
  pack,
  pieceHeader,
  readFrame,
  readPiece,
  unpack,
} from '../../../../src/rpc/ws/frames.ts'
import { checkMessage } from '../../../../src/rpc/ws/message-check.ts'

const to = { program: 7, version: 1, number: 3 }
const id = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, undefined),
    fc.integer(),
    fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { noNullPrototype: true },
    ),
  ),
})).value

const frame = (message: Buffer) => {
  const [value, ...more] = unpack(message)
  expect(more).toEqual([])
  return readFrame(value)
}

describe('frames', () => {
  it('are what was encoded', () => {
    fc.assert(
      fc.property(id, id, plain, fc.option(id, { nil: undefined }), (call, floor, args, length) => {
        const sent = args === undefined ? null : args
        const target = { program: 7, version: 1, procedure: 3 }
        expect(frame(encodeCall(call, to, floor, args, length))).toEqual({
          ...{ kind: 'call', id: call, ...target, floor, args: sent, length },
        })
        expect(frame(encodeAnswer(call, args, length))).toEqual({ kind: 'answer', id: call, result: sent, length })
        expect(frame(encodeNote(to, args))).toEqual({ kind: 'note', ...target, args: sent })
        expect(frame(encodeFailure(call, 'service', 'MOVED', args))).toEqual({
          ...{ kind: 'failure', id: call, by: 'service', code: 'MOVED', detail: sent },
        })
        expect(frame(encodeCancel(call))).toEqual({ kind: 'cancel', id: call })
        expect(frame(encodeCredit(call, 'out', floor))).toEqual({
          kind: 'credit',
          id: call,
          direction: 'out',
          bytes: floor,
        })
      }),
    )
  })

  it('come several in a message', () => {
    const values = unpack(Buffer.concat([encodeCancel(1), encodeCancel(2), encodeCredit(3, 'in', 4)]))
    expect(values.map(readFrame).map(({ kind }) => kind)).toEqual(['cancel', 'cancel', 'credit'])
  })

  it('are DecodeErrors if they are none, whatever the bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      // Something like a frame.
      fc
        .uint8Array({ minLength: 1, maxLength: 64 })
        .map((list) => Uint8Array.from([0x90 + ((list[0] as number) % 9), ...list])),
    )
    fc.assert(
      fc.property(bytes, (given) => {
        const message = Buffer.from(given)
        try {
          if (readPiece([message]) === undefined) for (const value of unpack(message)) readFrame(value)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('are refused by the sender if they are no plain data', () => {
    for (const value of [new Date(), [new Date()], { a: new Date() }]) {
      expect(() => pack(value)).toThrow(EncodeError)
    }
    const loop: unknown[] = []
    loop.push(loop)
    expect(() => pack(loop)).toThrow(EncodeError)
  })
})

describe('a message', () => {
  it('is refused before room is made for what it announces', () => {
    const messages = [
      'ddffffffff',
      'dfffffffff',
      'dcffff00',
      'deffff',
      'c6ffffffff00',
      'dbffffffff',
      '9f',
      '81a161',
      'd9ff61',
    ]
    for (const hex of messages) expect(() => unpack(Buffer.from(hex, 'hex')), hex).toThrow(DecodeError)
    expect(process.memoryUsage().rss).toBeLessThan(2 ** 30)
  })

  it('has no values of types of anybody else', () => {
    for (const hex of [
      'c1',
      'd40001',
      'd47200',
      'd6ff00000000',
      'd80000000000000000000000000000000000',
      'c70001',
      'c8000100',
      'c9',
    ]) {
      expect(() => checkMessage(Buffer.from(hex, 'hex')), hex).toThrow(DecodeError)
    }
    expect(unpack(Buffer.from('92d4000001', 'hex'))).toEqual([[undefined, 1]])
  })

  it('has limits for its values and their depth', () => {
    const deep = Buffer.concat([Buffer.alloc(33, 0x91), Buffer.from([0x01])])
    expect(() => checkMessage(deep)).toThrow(/deep/)
    expect(() => checkMessage(deep.subarray(1))).not.toThrow()
    expect(() => checkMessage(Buffer.alloc(5, 1), { values: 4, depth: 4 })).toThrow(/too many/)
  })

  it('says nothing of the prototype of what is made of it', () => {
    const [value] = unpack(Buffer.from('81a95f5f70726f746f5f5f81a16101', 'hex'))
    expect((value as { a?: unknown }).a).toBeUndefined()
  })
})

describe('pieces', () => {
  it('are what was sent, in whatever fragments', () => {
    const fragments = fc.array(fc.nat(20), { maxLength: 4 })
    fc.assert(
      fc.property(id, fc.boolean(), fc.boolean(), fc.uint8Array(), fragments, (call, out, last, bytes, cuts) => {
        const header = pieceHeader({ id: call, direction: out ? 'out' : 'in', last })
        const message = Buffer.concat([header, bytes])
        const parts: Buffer[] = []
        let rest = message
        for (const cut of cuts) {
          parts.push(rest.subarray(0, cut))
          rest = rest.subarray(cut)
        }
        const first = [...parts, rest].filter(({ length }) => length > 0)
        for (const given of [[header, Buffer.from(bytes)], [message], first]) {
          const piece = readPiece(given)
          expect(piece).toMatchObject({ id: call, direction: out ? 'out' : 'in', last })
          expect(piece?.data.equals(bytes)).toBe(true)
        }
      }),
    )
  })

  it('need their header', () => {
    expect(() => readPiece([Buffer.from([0x10, 1])])).toThrow(DecodeError)
    expect(readPiece([Buffer.from([0x91, 1])])).toBeUndefined()
    expect(readPiece([])).toBeUndefined()
  })
})
