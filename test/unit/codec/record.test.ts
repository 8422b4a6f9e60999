import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/codec/errors.ts'
import { clamped, i32, i64, record, u16, u32, u64, u64big, viewOf } from '../../../src/codec/record.ts'
import { decodeUtf8, EncodingError, endOfText } from '../../../src/codec/text.ts'

const All = record({ a: u16, _gap: u16, b: u32, c: u64, d: i64, e: i32, f: u64big })

const values = fc.record({
  a: fc.nat(0xffff),
  b: fc.nat(0xffff_ffff),
  c: fc.maxSafeNat(),
  d: fc.maxSafeInteger(),
  e: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  f: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
})

const read = (bytes: Uint8Array, base = 0) => {
  const { a, b, c, d, e, f } = new All().at(viewOf(bytes), base)
  return { a, b, c, d, e, f }
}

describe('record', () => {
  it('reads back what it wrote, at any position', () => {
    fc.assert(
      fc.property(values, fc.nat(16), (value, base) => {
        const bytes = new Uint8Array(base + All.size)
        bytes.set(All.encode(value), base)
        expect(read(bytes, base)).toEqual(value)
      }),
    )
  })

  it('lays fields out little-endian, one after the other', () => {
    const bytes = All.encode({ a: 0x0102, b: 0x03040506, c: 2 ** 40 + 1, d: -1, e: -2, f: 3n })
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '020100000605040301000000000100' + '00ffffffffffffffff' + 'feffffff' + '0300000000000000',
    )
    expect(All.size).toBe(bytes.length)
  })

  it('answers random bytes with values or DecodeError, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (bytes, base) => {
        try {
          read(bytes, base)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      }),
    )
  })

  it('clamps to the safe integers what programs may choose', () => {
    const One = record({ value: clamped })
    const clamp = (value: bigint): bigint =>
      BigInt(Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(value))))
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const bytes = new Uint8Array(new BigInt64Array([value]).buffer)
        expect(BigInt(new One().at(viewOf(bytes), 0).value)).toBe(clamp(value))
      }),
    )
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        expect(new One().at(viewOf(One.encode({ value })), 0).value).toBe(value)
      }),
    )
  })

  it('refuses a record that ends beyond the bytes, and a 64-bit value above 2^53', () => {
    expect(() => new All().at(viewOf(new Uint8Array(All.size - 1)), 0)).toThrow(DecodeError)
    const bytes = new Uint8Array(All.size).fill(0xff)
    expect(() => new All().at(viewOf(bytes), 0).c).toThrow(DecodeError)
  })
})

describe('text', () => {
  it('decodes UTF-8, and a replacement character that really was one', () => {
    const bytes = Buffer.from('naïve \ufffd 漢字')
    expect(decodeUtf8(bytes, 0, bytes.length)).toBe('naïve \ufffd 漢字')
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => decodeUtf8(Buffer.from([0x61, 0xff]), 0, 2)).toThrow(EncodingError)
  })

  it('finds the end of a text and misses none', () => {
    expect(endOfText(Buffer.from('ab\0cd\0'), 3, 6)).toBe(5)
    expect(() => endOfText(Buffer.from('ab\0cd\0'), 3, 5)).toThrow(DecodeError)
  })
})
