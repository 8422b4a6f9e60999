// Schemas for what programs exchange: valibot's, and the few that every table needs, each with a limit.
import * as v from 'valibot'

/** Says what a value from the wire must be, and types it. */
export type Schema<T> = v.GenericSchema<unknown, T>

/** No arguments, or no result. */
export const nothing: Schema<void> = v.pipe(
  v.nullish(v.null()),
  v.transform(() => undefined),
)

/** A whole number from 0 up to `max`. */
export const unsigned = (max: number = Number.MAX_SAFE_INTEGER): Schema<number> =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(max))

/** A 64-bit number without sign. */
export const u64: Schema<bigint> = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(2n ** 64n - 1n))

/** Text of at most so many bytes of UTF-8. */
export const text = (maxBytes: number): Schema<string> =>
  v.pipe(
    v.string(),
    v.check(
      (value) => value.length <= maxBytes && Buffer.byteLength(value) <= maxBytes,
      `longer than ${maxBytes} bytes`,
    ),
  )

/** At most so many bytes. It is a view on the message: what is kept must be copied. Much data is better a stream. */
export const bytes = (maxBytes: number): Schema<Buffer> =>
  v.pipe(
    v.instance(Buffer),
    v.check(({ length }) => length <= maxBytes, `more than ${maxBytes} bytes`),
  )

/** At most so many items. */
export const list = <T>(item: Schema<T>, max: number): Schema<T[]> =>
  v.pipe(
    // The number is looked at first: an item that is not wanted is not checked.
    v.custom<unknown[]>((value) => Array.isArray(value) && value.length <= max, `no list of up to ${max}`),
    v.array(item),
  ) as Schema<T[]>

/** The value, or what is wrong with it in a few words. */
export function check<T>(schema: Schema<T>, value: unknown): { readonly value: T } | { readonly wrong: string } {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return { value: result.output }
  const [issue] = result.issues
  const path = v.getDotPath(issue)
  // A rule of ours says what it wants; valibot's own messages repeat the value, which may be long.
  const wrong = issue.type === 'check' || issue.type === 'custom' ? issue.message : `${issue.expected} expected`
  return { wrong: path === null ? wrong : `${path}: ${wrong}` }
}
