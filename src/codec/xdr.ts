// XDR (RFC 4506) as typed codecs: a wire struct is one line that lists its fields, and yields both directions and the
// TypeScript type of its values.
//
//     const nfstime3 = struct({ seconds: u32, nseconds: u32 })
//     const LOOKUP3res = union('status', nfsstat3, { OK: { object: fh3, attributes: optional(fattr3) } }, { … })
//     type Lookup = Value<typeof LOOKUP3res> // { status: 'OK', object: Buffer, … } | { status: 'NOENT' | …, … }
//
// Every length that comes from outside has a maximum. Decoding fails with DecodeError and nothing else, encoding with
// EncodeError.
import { DecodeError, EncodeError } from './errors.ts'
import { XdrReader } from './xdr-reader.ts'
import { XdrWriter } from './xdr-writer.ts'

export { XdrReader } from './xdr-reader.ts'
export { XdrWriter } from './xdr-writer.ts'

export interface Codec<T> {
  /** The fewest bytes that a value takes: so many elements of an array are believed as there are bytes for. */
  readonly minBytes: number
  read(from: XdrReader): T
  write(to: XdrWriter, value: T): void
}

/** The type of a codec's values. */
export type Value<C> = C extends Codec<infer T> ? T : never

export const u32: Codec<number> = {
  minBytes: 4,
  read: (from) => from.u32(),
  write: (to, value) => to.u32(value),
}

export const i32: Codec<number> = {
  minBytes: 4,
  read: (from) => from.i32(),
  write: (to, value) => to.i32(value),
}

export const bool: Codec<boolean> = {
  minBytes: 4,
  read: (from) => from.bool(),
  write: (to, value) => to.bool(value),
}

/** Unsigned, and a safe integer: larger ones are a DecodeError. */
export const u64: Codec<number> = {
  minBytes: 8,
  read: (from) => from.u64(),
  write: (to, value) => to.u64(value),
}

/** Signed, and a safe integer: others are a DecodeError. */
export const i64: Codec<number> = {
  minBytes: 8,
  read: (from) => from.i64(),
  write: (to, value) => to.i64(value),
}

/** Unsigned, of any size: cookies and other opaque numbers. */
export const u64big: Codec<bigint> = {
  minBytes: 8,
  read: (from) => from.u64big(),
  write: (to, value) => to.u64big(value),
}

/** Signed, of any size. */
export const i64big: Codec<bigint> = {
  minBytes: 8,
  read: (from) => from.i64big(),
  write: (to, value) => to.i64big(value),
}

/** `void` (RFC 4506 §4.16): no bytes at all. */
export const nothing: Codec<undefined> = {
  minBytes: 0,
  read: () => undefined,
  write: () => {},
}

/** `opaque[length]`. Decoded as a view on the message. */
export const fixedOpaque = (length: number): Codec<Buffer> => ({
  minBytes: length,
  read: (from) => from.fixed(length),
  write: (to, value) => to.fixed(value, length),
})

/** `opaque<maximum>`. Decoded as a view on the message. */
export const opaque = (maximum: number): Codec<Buffer> => ({
  minBytes: 4,
  read: (from) => from.opaque(maximum),
  write: (to, value) => to.opaque(value, maximum),
})

/** `string<maximum>`, the maximum in bytes. What is not UTF-8 is an EncodingError (a DecodeError of its own). */
export const text = (maximum: number): Codec<string> => ({
  minBytes: 4,
  read: (from) => from.text(maximum),
  write: (to, value) => to.text(value, maximum),
})

/** `enum { … }` (RFC 4506 §4.3): values are the names. A number without a name is a DecodeError. */
export function enumeration<const E extends Readonly<Record<string, number>>>(numbers: E): Codec<keyof E & string> {
  const names = new Map(Object.entries(numbers).map(([name, number]) => [number, name as keyof E & string]))
  return {
    minBytes: 4,
    read(from) {
      const number = from.i32()
      const name = names.get(number)
      if (name === undefined) throw new DecodeError(`${number} is no value of this enumeration`)
      return name
    },
    write(to, name) {
      const number = numbers[name]
      if (number === undefined) throw new EncodeError(`${String(name)} is no value of this enumeration`)
      to.i32(number)
    },
  }
}

/** `element name[length]` (RFC 4506 §4.12). */
export function fixedArray<T>(element: Codec<T>, length: number): Codec<readonly T[]> {
  return {
    minBytes: length * element.minBytes,
    read(from) {
      const values: T[] = []
      for (let left = length; left > 0; left--) values.push(element.read(from))
      return values
    },
    write(to, values) {
      if (values.length !== length) throw new EncodeError(`${values.length} elements where ${length} belong`)
      for (const value of values) element.write(to, value)
    },
  }
}

/** `element name<maximum>` (RFC 4506 §4.13). */
export function array<T>(element: Codec<T>, maximum: number): Codec<readonly T[]> {
  if (element.minBytes === 0) throw new TypeError('elements without bytes would make any length believable')
  return {
    minBytes: 4,
    read(from) {
      const values: T[] = []
      for (let left = from.count(maximum, element.minBytes); left > 0; left--) values.push(element.read(from))
      return values
    },
    write(to, values) {
      if (values.length > maximum) throw new EncodeError(`${values.length} elements where ${maximum} are the maximum`)
      to.u32(values.length)
      for (const value of values) element.write(to, value)
    },
  }
}

/** `type *name` (RFC 4506 §4.19), and any union of nothing and one value over a boolean: the same bytes. */
export function optional<T>(value: Codec<T>): Codec<T | undefined> {
  return {
    minBytes: 4,
    read: (from) => (from.bool() ? value.read(from) : undefined),
    write(to, some) {
      to.bool(some !== undefined)
      if (some !== undefined) value.write(to, some)
    },
  }
}

/** A linked list, `struct entry { …; entry *next; } *first`, of at most `maximum` entries: true and an entry, …, false. */
export function list<T>(entry: Codec<T>, maximum: number): Codec<readonly T[]> {
  return {
    minBytes: 4,
    read(from) {
      const values: T[] = []
      while (from.bool()) {
        if (values.length >= maximum) throw new DecodeError(`list of more than ${maximum} entries`)
        values.push(entry.read(from))
      }
      return values
    },
    write(to, values) {
      if (values.length > maximum) throw new EncodeError(`${values.length} entries where ${maximum} are the maximum`)
      for (const value of values) {
        to.bool(true)
        entry.write(to, value)
      }
      to.bool(false)
    },
  }
}

/** Names and codecs of a struct's fields, in the order of the wire. */
export type Fields = Readonly<Record<string, Codec<unknown>>>

/** The values of a struct. */
export type Values<F extends Fields> = { readonly [K in keyof F]: Value<F[K]> }

/** `struct { … }` (RFC 4506 §4.14). */
export function struct<const F extends Fields>(fields: F): Codec<Values<F>> {
  const body = compile(fields)
  const read = body.read as (from: XdrReader) => Values<F>
  return { minBytes: body.minBytes, read, write: body.write }
}

type Flat<T> = { [K in keyof T]: T[K] }

type Arms<D extends string | number> = { readonly [K in D]?: Fields }

/** The values of a union: an object per arm, with the discriminant as one of its properties. */
export type UnionValue<
  Tag extends string,
  D extends string | number,
  A extends Arms<D>,
  Otherwise extends Fields | undefined,
> =
  | { [K in keyof A & D]: A[K] extends Fields ? Flat<{ readonly [T in Tag]: K } & Values<A[K]>> : never }[keyof A & D]
  | (Otherwise extends Fields
      ? [Exclude<D, keyof A>] extends [never]
        ? never
        : Flat<{ readonly [T in Tag]: Exclude<D, keyof A> } & Values<Otherwise>>
      : never)

/**
 * `union switch (discriminant) { … }` (RFC 4506 §4.15). An arm is a list of fields (none for `void`), which stand beside
 * the discriminant in the value; `otherwise` is the default arm. Without one, what has no arm is a DecodeError.
 */
export function union<
  const Tag extends string,
  D extends string | number,
  const A extends Arms<D>,
  const Otherwise extends Fields | undefined = undefined,
>(tag: Tag, discriminant: Codec<D>, arms: A, otherwise?: Otherwise): Codec<UnionValue<Tag, D, A, Otherwise>> {
  const bodies = new Map<string, Body>()
  for (const [name, fields] of Object.entries<Fields>(arms as Readonly<Record<string, Fields>>)) {
    bodies.set(name, compile(fields, tag))
  }
  const fallback = otherwise === undefined ? undefined : compile(otherwise, tag)
  const all = [...bodies.values(), ...(fallback === undefined ? [] : [fallback])]
  const bodyOf = (value: D): Body | undefined =>
    bodies.get(typeof value === 'string' ? value : String(value)) ?? fallback
  return {
    minBytes: discriminant.minBytes + Math.min(...all.map(({ minBytes }) => minBytes)),
    read(from) {
      const value = discriminant.read(from)
      const body = bodyOf(value)
      if (body === undefined) throw new DecodeError(`${value} is no arm of this union`)
      return body.read(from, value) as UnionValue<Tag, D, A, Otherwise>
    },
    write(to, value) {
      const chosen = (value as Readonly<Record<string, unknown>>)[tag] as D
      const body = bodyOf(chosen)
      if (body === undefined) throw new EncodeError(`${chosen} is no arm of this union`)
      discriminant.write(to, chosen)
      body.write(to, value)
    },
  }
}

interface Body {
  readonly minBytes: number
  read(from: XdrReader, tag?: unknown): unknown
  write(to: XdrWriter, value: unknown): void
}

const IDENTIFIER = /^(?!__proto__$)[A-Za-z_$][\w$]*$/

/**
 * Reader and writer of a list of fields, compiled once: an object literal and straight calls are three to five times as
 * fast as a loop over names, since every object of a struct has one shape from the start. `tag` is a property that the
 * reader gets instead of reading it.
 */
function compile(fields: Fields, tag?: string): Body {
  const names = Object.keys(fields)
  const codecs = Object.values(fields)
  for (const name of tag === undefined ? names : [...names, tag]) {
    // Names become source code: nothing else may pass.
    if (!IDENTIFIER.test(name) || (name === tag && Object.hasOwn(fields, name))) throw new TypeError(`field ${name}`)
  }
  const reads = names.map((name, i) => `${name}: c${i}.read(from)`)
  const properties = tag === undefined ? reads : [`${tag}: tag`, ...reads]
  const writes = names.map((name, i) => `c${i}.write(to, value.${name})`)
  const make = new Function(
    ...codecs.map((_, i) => `c${i}`),
    `return {
      read(from, tag) { return { ${properties.join(', ')} } },
      write(to, value) { ${writes.join('; ')} },
    }`,
  ) as (...codecs: Codec<unknown>[]) => Omit<Body, 'minBytes'>
  const { read, write } = make(...codecs)
  return { minBytes: codecs.reduce((sum, { minBytes }) => sum + minBytes, 0), read, write }
}

/** The value that these bytes are, all of them: DecodeError if they are anything else. */
export function decode<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes)
  const value = codec.read(reader)
  reader.finish()
  return value
}

/** The bytes of a value, at most `limit`: EncodeError for a value that the codec cannot express. */
export function encode<T>(codec: Codec<T>, value: T, limit = 64 * 1024): Buffer {
  const writer = new XdrWriter(limit)
  codec.write(writer, value)
  const chunks = writer.take()
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
