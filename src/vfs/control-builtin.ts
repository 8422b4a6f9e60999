// The control files that every mount has: `status`, `status.json`, `trace`, `network`.
import { FsError } from '../posix/errors.ts'
import type { TraceRecord } from '../trace/trace.ts'
import type { ControlFile } from './control-file.ts'
import { CONTROL_NODES } from './control-tree.ts'
import type { Awaitable, CallContext } from './filesystem.ts'
import { TraceStream } from './trace-stream.ts'

/** Facts as `status.json` gives them: plain JSON values. */
export type Status = Readonly<Record<string, unknown>>

/** The network between this mount and its servers, as `.proteus/network` shows and sets it. */
export interface NetworkControl {
  /** The present state, in the words that `set` takes. */
  show(): string
  /** `up`, `down`, `latency=50ms,loss=1%`, … Fails with EINVAL for what it does not understand. */
  set(line: string, context: CallContext): Awaitable<void>
}

export function statusFiles(status: () => Promise<Status>): ControlFile[] {
  return [
    { name: 'status', read: async () => `${formatStatus(await status())}\n` },
    { name: 'status.json', read: async () => `${JSON.stringify(await status())}\n` },
  ]
}

/** Everybody's file names pass through the trace: only the owner of the mount may read it. */
export function traceFile(mount: string): ControlFile {
  // Without the control directory's own requests: else reading the trace would be an event, to be read, and so on.
  const accepts = (record: TraceRecord): boolean =>
    record.channel === 'trace' ||
    ((record.mount === undefined || record.mount === mount) && !('node' in record && record.node >= CONTROL_NODES))
  return { name: 'trace', mode: 0o400, read: () => new TraceStream({ accepts }) }
}

export function networkFile(mode: string, network: NetworkControl | undefined): ControlFile {
  if (network !== undefined) {
    return {
      name: 'network',
      read: () => `${network.show()}\n`,
      write: (line, context) => network.set(line.trim(), context),
    }
  }
  return {
    name: 'network',
    read: () => `none: mode ${mode} has no network\n`,
    write: () => {
      throw new FsError('EOPNOTSUPP', `mode ${mode} has no network`)
    },
  }
}

/** JSON values as indented `name: value` lines. */
export function formatStatus(status: Status, indent = ''): string {
  const lines = Object.entries(status).map(([name, value]) => `${indent}${name}:${formatValue(value, `${indent}  `)}`)
  return lines.join('\n')
}

function formatValue(value: unknown, indent: string): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return ' none'
    if (value.every((item) => typeof item !== 'object')) return value.map((item) => `\n${indent}${item}`).join('')
    return value.map((item, i) => `\n${indent}${i + 1}:${formatValue(item, `${indent}  `)}`).join('')
  }
  if (typeof value === 'object' && value !== null) return `\n${formatStatus(value as Status, indent)}`
  if (typeof value === 'boolean') return value ? ' yes' : ' no'
  return ` ${value}`
}
