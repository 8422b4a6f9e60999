// What commands print: text for people, with colour on a terminal only, or JSON, one object per line.
import picocolors from 'picocolors'

export { shown } from '../../serving/shown.ts'

type Colors = ReturnType<typeof picocolors.createColors>

export interface Output {
  readonly json: boolean
  readonly colors: Colors
  /** A line for people; nothing with `--json`. */
  line(text?: string): void
  /** A result for programs: one JSON line; nothing without `--json`. */
  result(value: object): void
  /** A line on standard error, in both forms. */
  warn(text: string): void
}

export interface OutputStreams {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean }
  readonly stderr: { write(text: string): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
}

/** NO_COLOR (no-color.org) turns colours off everywhere. */
export function wantsColor({ stdout, env }: Pick<OutputStreams, 'stdout' | 'env'>): boolean {
  return stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
}

export function createOutput(json: boolean | undefined, streams: OutputStreams = process): Output {
  const { stdout, stderr } = streams
  const colors = picocolors.createColors(!json && wantsColor(streams))
  return {
    json: json === true,
    colors,
    line(text = '') {
      if (!json) stdout.write(`${text}\n`)
    },
    result(value) {
      if (json) stdout.write(`${JSON.stringify(value)}\n`)
    },
    warn(text) {
      stderr.write(`${json ? '' : colors.yellow('! ')}${text}\n`)
    },
  }
}

/** Text columns as wide as their widest cell; the last one is free. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
