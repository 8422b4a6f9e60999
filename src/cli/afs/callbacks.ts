// `proteus afs callbacks`: who was promised to be told of a file, until when; or, of all volumes, how many promises there
// are, and which clients may have missed something.
import type { Command } from 'commander'
import { AFS } from '../../modes/afs/protocol.ts'
import { VL, VOLSER } from '../../modes/afs/protocol-volumes.ts'
import { describeError } from '../exit.ts'
import { examples } from '../support/options.ts'
import { columns, createOutput, type Output, shown } from '../support/output.ts'
import { type CellConnection, type ConnectionOptions, withCell } from './connection.ts'
import { failureOf } from './failures.ts'
import { locate } from './fids.ts'
import { volumesOf } from './volumes.ts'

interface Holder {
  readonly client: string
  readonly expiresInMs?: number | undefined
  readonly breaking: boolean
}

interface Missed {
  readonly client: string
  readonly breaks: number
  readonly sinceMs: number
  readonly unreachable: boolean
}

export function define(command: Command): void {
  command
    .argument('[file]', 'a file or directory in an afs mount')
    .addHelpText('after', examples('proteus afs callbacks', 'proteus afs callbacks mount/a/note --json'))
    .action((file: string | undefined, options: ConnectionOptions) =>
      file === undefined ? ofCell(options) : ofFile(file, options),
    )
}

async function ofFile(file: string, options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  const { fid, server: address } = await locate(file)
  const run = withCell(
    options,
    async (cell) => {
      const server = await cell.server(address)
      const { holders, missed } = await server.call(AFS.procedures.GetHolders, { fid })
      output.result({ file, fid, server: address, holders, missed })
      output.line(`${shown(file)} (${fid.volume}.${fid.vnode}.${fid.unique} on ${address})`)
      if (holders.length === 0) output.line('  nobody was promised to be told when it changes')
      for (const line of columns(holders.map(holderRow))) output.line(`  ${line}`)
      showMissed(output, missed)
    },
    file,
  )
  await run.catch((error) => {
    throw failureOf(error, shown(file))
  })
}

function holderRow({ client, expiresInMs, breaking }: Holder): string[] {
  const until = expiresInMs === undefined ? 'for ever' : `for ${showTime(expiresInMs)}`
  return [client, until, breaking ? 'is being told' : '']
}

function showMissed(output: Output, missed: readonly Missed[]): void {
  for (const { client, breaks, sinceMs, unreachable } of missed) {
    const state = unreachable ? 'out of reach' : 'is back'
    output.line(`  ${client} may have missed ${breaks}, since ${showTime(sinceMs)}: ${state}`)
  }
}

async function ofCell(options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    const { servers } = await cell.location.call(VL.procedures.ListServers, undefined)
    for (const { address } of servers) {
      await ofServer(cell, address, output).catch((error) => {
        output.warn(describeError(failureOf(error, address), false))
        process.exitCode = 1
      })
    }
  })
}

async function ofServer(cell: CellConnection, address: string, output: Output): Promise<void> {
  const server = await cell.server(address)
  const volumes = (await volumesOf(server)).map(({ name, id, promises }) => ({ name, id, promises }))
  const { missed } = await server.call(VOLSER.procedures.Undelivered, undefined)
  output.result({ server: address, volumes, missed })
  output.line(address)
  for (const line of columns(volumes.map(({ name, promises }) => [name, `${promises} promises`]))) {
    output.line(`  ${line}`)
  }
  for (const { volume, ...one } of missed) showMissed(output, [{ ...one, client: `${one.client} (${volume})` }])
}

function showTime(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}
