// Sizes as people write them: `500m`, `10g`.
import { usageError } from '../exit.ts'

const UNITS = ['', 'k', 'm', 'g', 't']

/** As an option has it: to the command line's parser null would be no value. */
export type Limit = number | 'none'

/** Null: none. `otherwise`: if nothing was said. */
export const limitOf = (limit: Limit | undefined, otherwise: number | null): number | null =>
  limit === 'none' ? null : (limit ?? otherwise)

/** Bytes, or `none`. Throws a usage error that names the option. */
export function parseSize(text: string, option: string): Limit {
  if (text === 'none') return text
  const [, digits, unit = ''] = /^(\d{1,15})([kmgt]?)$/i.exec(text) ?? []
  const bytes = Number(digits) * 1024 ** UNITS.indexOf(unit.toLowerCase())
  if (digits === undefined || !Number.isSafeInteger(bytes)) {
    throw usageError(`${option} needs a size such as 500m or 10g, or none`)
  }
  return bytes
}

/** A count, or `none`. */
export function parseCount(text: string, option: string): Limit {
  if (text === 'none') return text
  if (!/^\d{1,15}$/.test(text)) throw usageError(`${option} needs a number, or none`)
  return Number(text)
}

/** With up to three digits, as `df -h` shows them. */
export function showSize(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  const digits = value < 10 && unit > 0 ? value.toFixed(1) : String(Math.round(value))
  return `${digits}${UNITS[unit]?.toUpperCase()}`
}
