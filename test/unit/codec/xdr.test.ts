import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { DecodeError, EncodeError } from '../../../src/codec/errors.ts'
import { EncodingError } from '../../../src/codec/text.ts'
import {
  array,
  bool,
  type Codec,
  decode,
  encode,
  enumeration,
  fixedArray,
  fixedOpaque,
  i32,
  i64,
  i64big,
  list,
  nothing,
  opaque,
  optional,
  struct,
  text,
  u32,
  u64,
  u64big,
  union,
  type Value,
  XdrReader,
  XdrWriter,
} from '../../../src/codec/xdr.ts'

const hex = (bytes: Buffer): string => bytes.toString('hex')
const color = enumeration({ RED: 2, YELLOW: 3, BLUE: 5, NONE: -1 })
const paint = union(
  'color',
  color,
  { RED: { depth: u32 }, YELLOW: {}, BLUE: { name: text(20), mark: opaque(9) } },
  { why: i32 },
)
const numbered = union('kind', u32, { 0: { a: bool }, 7: {} })
const everything = struct({
  small: u32,
  signed: i32,
  flag: bool,
  size: u64,
  offset: i64,
  cookie: u64big,
  big: i64big,
  verifier: fixedOpaque(6),
  data: opaque(30),
  name: text(40),
  paint,
  numbered,
  maybe: optional(u32),
  several: array(struct({ a: u32, b: text(8) }), 5),
  pair: fixedArray(i32, 2),
  linked: list(struct({ name: text(8), cookie: u64big }), 4),
})

const u32s = fc.nat(0xffff_ffff)
const i32s = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff })
const bytes = (maxLength: number, minLength = 0) => fc.uint8Array({ minLength, maxLength }).map((b) => Buffer.from(b))
const texts = (maximum: number) =>
  fc.string({ unit: 'grapheme', maxLength: maximum }).filter((value) => Buffer.byteLength(value) <= maximum)
const u64s = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const paints: fc.Arbitrary<Value<typeof paint>> = fc.oneof(
  fc.record({ color: fc.constant('RED' as const), depth: u32s }),
  fc.record({ color: fc.constant('YELLOW' as const) }),
  fc.record({ color: fc.constant('BLUE' as const), name: texts(20), mark: bytes(9) }),
  fc.record({ color: fc.constant('NONE' as const), why: i32s }),
)
const values: fc.Arbitrary<Value<typeof everything>> = fc.record({
  small: u32s,
  signed: i32s,
  flag: fc.boolean(),
  size: fc.maxSafeNat(),
  offset: fc.maxSafeInteger(),
  cookie: u64s,
  big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  verifier: bytes(6, 6),
  data: bytes(30),
  name: texts(40),
  paint: paints,
  numbered: fc.oneof(fc.record({ kind: fc.constant(0 as const), a: fc.boolean() }), fc.constant({ kind: 7 as const })),
  maybe: fc.option(u32s, { nil: undefined }),
  several: fc.array(fc.record({ a: u32s, b: texts(8) }), { maxLength: 5 }),
  pair: fc.tuple(i32s, i32s),
  linked: fc.array(fc.record({ name: texts(8), cookie: u64s }), { maxLength: 4 }),
})

/** Decodes, and lets nothing but a DecodeError through. */
function attempt(codec: Codec<unknown>, message: Buffer): void {
  try {
    decode(codec, message)
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
  }
}

describe('XDR codecs', () => {
  it('read back what they wrote', () => {
    fc.assert(
      fc.property(values, (value) => {
        const message = encode(everything, value)
        expect(message.length % 4).toBe(0)
        expect(message.length).toBeGreaterThanOrEqual(everything.minBytes)
        expect(decode(everything, message)).toEqual(value)
      }),
    )
  })

  it('answer random, cut and mutated bytes with values or DecodeError, nothing else', () => {
    fc.assert(fc.property(bytes(200), (message) => attempt(everything, message)))
    fc.assert(
      fc.property(values, fc.nat(), fc.nat(255), fc.nat(), (value, at, byte, length) => {
        const message = encode(everything, value)
        message[at % message.length] = byte
        attempt(everything, message)
        const cut = length % message.length
        expect(() => decode(everything, message.subarray(0, cut))).toThrow(DecodeError)
      }),
    )
  })

  it('say what follows the value', () => {
    expect(() => decode(u32, Buffer.alloc(8))).toThrow('4 bytes too many')
  })

  it('infer their types', () => {
    expectTypeOf<Value<typeof paint>>().toEqualTypeOf<
      | { readonly color: 'RED'; readonly depth: number }
      | { readonly color: 'YELLOW' }
      | { readonly color: 'BLUE'; readonly name: string; readonly mark: Buffer }
      | { readonly color: 'NONE'; readonly why: number }
    >()
    const plain = struct({ a: optional(u64), b: array(color, 3), c: nothing })
    expectTypeOf<Value<typeof plain>>().toEqualTypeOf<{
      readonly a: number | undefined
      readonly b: readonly ('RED' | 'YELLOW' | 'BLUE' | 'NONE')[]
      readonly c: undefined
    }>()
  })
})

describe('the wire', () => {
  it('is that of RFC 4506 §7', () => {
    // The RFC's example: a file with an executable type, by John, with the contents "(quit)".
    const filetype = union('kind', enumeration({ TEXT: 0, DATA: 1, EXEC: 2 }), {
      TEXT: {},
      DATA: { creator: text(255) },
      EXEC: { interpretor: text(255) },
    })
    const file = struct({ filename: text(255), type: filetype, owner: text(32), data: opaque(65535) })
    const value = {
      filename: 'sillyprog',
      type: { kind: 'EXEC', interpretor: 'lisp' },
      owner: 'john',
      data: Buffer.from('(quit)'),
    } as const
    const message =
      '00000009' +
      '73696c6c' +
      '7970726f' +
      '67000000' +
      '00000002' +
      '00000004' +
      '6c697370' +
      '00000004' +
      '6a6f686e' +
      '00000006' +
      '28717569' +
      '74290000'
    expect(hex(encode(file, value))).toBe(message)
    expect(decode(file, Buffer.from(message, 'hex'))).toEqual(value)
  })

  it('has numbers big-endian and in two’s complement', () => {
    expect(hex(encode(u32, 0x01020304))).toBe('01020304')
    expect(hex(encode(i32, -2))).toBe('fffffffe')
    expect(hex(encode(u64, 2 ** 40 + 1))).toBe('0000010000000001')
    expect(hex(encode(i64, -1))).toBe('ffffffffffffffff')
    expect(hex(encode(i64, -(2 ** 32) - 1))).toBe('fffffffeffffffff')
    expect(hex(encode(u64big, 2n ** 64n - 2n))).toBe('fffffffffffffffe')
    expect(hex(encode(i64big, -2n))).toBe('fffffffffffffffe')
  })

  it('has zeroes as padding, and anything is accepted for them', () => {
    expect(hex(encode(opaque(9), Buffer.from([1])))).toBe('0000000101000000')
    expect(decode(opaque(9), Buffer.from('0000000101ffffff', 'hex'))).toEqual(Buffer.from([1]))
    expect(() => decode(opaque(9), Buffer.from('0000000101ffff', 'hex'))).toThrow(DecodeError)
  })

  it('has a mark before each entry of a list and one after the last', () => {
    expect(hex(encode(list(u32, 2), [7, 8]))).toBe('00000001000000070000000100000008' + '00000000')
  })
})

describe('limits', () => {
  const length = (count: number, rest = 64) => {
    const message = Buffer.alloc(4 + rest)
    message.writeUInt32BE(count)
    return message
  }

  it.each<[string, Codec<unknown>, number]>([
    ['opaque', opaque(16), 17],
    ['text', text(16), 0xffff_ffff],
    ['array', array(u32, 10), 11],
    ['an array of more elements than there are bytes', array(u32, 1e9), 1e9],
  ])('%s: refused before memory is taken', (_, codec, count) => {
    expect(() => new XdrReader(length(count)).remaining && codec.read(new XdrReader(length(count)))).toThrow(
      DecodeError,
    )
  })

  it('an endless list ends at its maximum', () => {
    const ones = Buffer.alloc(4000, Buffer.from([0, 0, 0, 1]))
    expect(() => decode(list(u32, 100), ones)).toThrow('more than 100 entries')
  })

  it('values that a codec cannot express are EncodeErrors', () => {
    const refuse = <T>(codec: Codec<T>, value: T) => expect(() => encode(codec, value)).toThrow(EncodeError)
    refuse(u32, -1)
    refuse(u32, 2 ** 32)
    refuse(i32, 1.5)
    refuse(u64, -1)
    refuse(i64, 2 ** 53)
    refuse(u64big, 2n ** 64n)
    refuse(i64big, 2n ** 63n)
    refuse(fixedOpaque(3), Buffer.alloc(2))
    refuse(opaque(3), Buffer.alloc(4))
    refuse(text(3), 'äö')
    refuse(text(2000), 'ä'.repeat(1500))
    refuse(array(u32, 1), [1, 2])
    refuse(list(u32, 1), [1, 2])
    refuse(fixedArray(u32, 1), [])
    refuse(color as Codec<string>, 'GREEN')
    refuse(numbered as Codec<unknown>, { kind: 3 })
  })

  it('the names of fields are names, since they become source code', () => {
    for (const name of ['a b', '__proto__', 'a:1,b', '0']) {
      expect(() => struct(Object.fromEntries([[name, u32]]))).toThrow(TypeError)
    }
    expect(() => union('a', color, { RED: { a: u32 } })).toThrow(TypeError)
  })

  it('64-bit numbers above 2^53, unknown values of an enumeration and other booleans are refused', () => {
    expect(() => decode(u64, Buffer.from('0020000000000000', 'hex'))).toThrow(DecodeError)
    expect(() => decode(i64, Buffer.from('ffdfffffffffffff', 'hex'))).toThrow(DecodeError)
    expect(() => decode(color, Buffer.from('00000004', 'hex'))).toThrow(DecodeError)
    expect(() => decode(bool, Buffer.from('00000002', 'hex'))).toThrow(DecodeError)
  })

  it('text that is not UTF-8 is told apart from a message that makes no sense', () => {
    expect(() => decode(text(9), Buffer.from('00000001ff000000', 'hex'))).toThrow(EncodingError)
  })
})

describe('XdrWriter', () => {
  it('puts large data beside the message, and reading gives views of the message', () => {
    const data = Buffer.alloc(1_000_001, 7)
    const writer = new XdrWriter(2 ** 21)
    const reply = struct({ count: u32, data: opaque(2 ** 20), end: text(5) })
    reply.write(writer, { count: 1, data, end: 'ende' })
    const chunks = writer.take()
    expect(chunks.map((chunk) => chunk.length)).toEqual([8, data.length, 3 + 8])
    expect(chunks[1]?.buffer).toBe(data.buffer)
    const message = Buffer.concat(chunks)
    const decoded = decode(reply, message)
    expect(decoded.data.equals(data)).toBe(true)
    expect(decoded.data.buffer).toBe(message.buffer)
    expect(decoded.end).toBe('ende')
  })

  it('never goes beyond its limit, and by not one byte too early', () => {
    const parts = fc.oneof(texts(60), bytes(60), bytes(9000, 4090), u32s)
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 40 }), fc.nat(8), (list, short) => {
        const put = (writer: XdrWriter) => {
          for (const part of list) {
            if (typeof part === 'number') writer.u32(part)
            else if (typeof part === 'string') writer.text(part, 100)
            else writer.opaque(part, 9000)
          }
        }
        const writer = new XdrWriter(1e6)
        put(writer)
        const { length } = writer
        const message = Buffer.concat(writer.take())
        expect(message.length).toBe(length)
        put(writer.begin(length))
        expect(Buffer.concat(writer.take()).equals(message)).toBe(true)
        if (short > 0 && short <= length) expect(() => put(writer.begin(length - short))).toThrow(EncodeError)
      }),
    )
  })

  it('leaves messages alone that were taken', () => {
    const writer = new XdrWriter()
    const messages = Array.from({ length: 5000 }, (_, i) => {
      writer.begin(100).u32(i)
      writer.text(`number ${i}`, 50)
      return writer.take()
    })
    writer.begin(100).u32(0xffff_ffff)
    for (const [i, chunks] of messages.entries()) {
      expect(decode(struct({ i: u32, name: text(50) }), Buffer.concat(chunks))).toEqual({ i, name: `number ${i}` })
    }
  })
})
