// `proteus afs volumes|create|delete|quota`.
import { VL, VOLSER, type VolumeEntry, type VolumeInfo } from '../../modes/afs/protocol-volumes.ts'
import { isVolumeName } from '../../modes/afs/volume-names.ts'
import type { WsClient } from '../../rpc/ws/index.ts'
import { CliError, describeError, usageError } from '../exit.ts'
import { examples } from '../support/options.ts'
import { columns, createOutput, type Output } from '../support/output.ts'
import { type AddCommand, type CellConnection, type ConnectionOptions, withCell } from './connection.ts'
import { failureOf } from './failures.ts'
import { type Limit, limitOf, parseCount, parseSize, showSize } from './sizes.ts'
import { withProgress } from './work.ts'

interface QuotaOptions extends ConnectionOptions {
  readonly quota?: Limit
  readonly inodes?: Limit
}

const size = (text: string): Limit => parseSize(text, '--quota')
const count = (text: string): Limit => parseCount(text, '--inodes')
const PAGE = 512

export function define(add: AddCommand): void {
  add('volumes', 'list the volumes of the cell, and where they are')
    .addHelpText('after', examples('proteus afs volumes', 'proteus afs volumes --server afs://127.0.0.1:7000 --json'))
    .action(volumes)
  add('create', 'make a volume')
    .argument('<name>', 'letters, digits, dots, dashes')
    .option('--on <host:port>', 'the file server that is to have it (default: the first of the cell)')
    .option('--quota <size>', 'the most bytes of its files, such as 10g', size)
    .option('--inodes <number>', 'the most files, directories and links', count)
    .addHelpText('after', examples('proteus afs create home.alice', 'proteus afs create home.bob --quota 1g --json'))
    .action(create)
  add('delete', 'delete a volume with its clones, or a snapshot alone')
    .argument('<name>', 'a volume, or name.backup')
    .addHelpText('after', examples('proteus afs delete home.alice', 'proteus afs delete home.alice.backup --json'))
    .action(deleteVolume)
  add('quota', 'show or set what a volume may hold')
    .argument('<name>', 'the volume')
    .option('--quota <size>', 'the most bytes of its files, such as 10g, or none', size)
    .option('--inodes <number>', 'the most files, directories and links, or none', count)
    .addHelpText(
      'after',
      examples('proteus afs quota home.alice --json', 'proteus afs quota home.alice --quota 2g --inodes none'),
    )
    .action(quota)
}

async function volumes(options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    const rows: string[][] = [['VOLUME', 'ID', 'TYPE', 'SERVER', 'USED', 'QUOTA', 'FILES', 'PROMISES', 'STATE']]
    const { servers } = await cell.location.call(VL.procedures.ListServers, undefined)
    const entries = await entriesOf(cell)
    const found: { server: string; volume: VolumeInfo }[] = []
    let silent = 0
    for (const { address } of servers) {
      try {
        for (const volume of await volumesOf(await cell.server(address))) found.push({ server: address, volume })
      } catch (error) {
        silent++
        output.warn(describeError(error, false))
      }
    }
    found.sort((a, b) => a.volume.id - b.volume.id || (a.server < b.server ? -1 : 1))
    for (const { server, volume } of found) {
      output.result({ ...volume, server, cell: cell.cell })
      rows.push(rowOf(server, volume))
    }
    for (const missing of missingOf(entries, found)) {
      output.result({ ...missing, state: 'unreachable', cell: cell.cell })
      rows.push([missing.name, String(missing.id), missing.type, missing.server, '', '', '', '', 'unreachable'])
    }
    for (const line of columns(rows)) output.line(line)
    if (silent > 0) throw new CliError(`${silent} of ${servers.length} servers of the cell ${cell.cell} do not answer`)
  })
}

function rowOf(server: string, volume: VolumeInfo): string[] {
  const { name, id, type, usedBytes, usedInodes, quotaBytes, promises, state } = volume
  const quota = quotaBytes === null ? '-' : showSize(quotaBytes)
  return [name, String(id), type, server, showSize(usedBytes), quota, String(usedInodes), String(promises), state]
}

/** What entries name and no server that answered has. */
function missingOf(entries: readonly VolumeEntry[], found: readonly { server: string; volume: VolumeInfo }[]) {
  const have = new Set(found.map(({ server, volume }) => `${volume.id} ${server}`))
  const named = entries.flatMap(({ name, rw, ro, backup }) => [
    ...(rw === null ? [] : [{ name, type: 'RW', ...rw }]),
    ...(ro?.servers ?? []).map((server) => ({ name: `${name}.readonly`, type: 'RO', id: ro?.id ?? 0, server })),
    ...(backup === null ? [] : [{ name: `${name}.backup`, type: 'BK', ...backup }]),
  ])
  return named.filter(({ id, server }) => !have.has(`${id} ${server}`))
}

async function entriesOf(cell: CellConnection): Promise<VolumeEntry[]> {
  const all: VolumeEntry[] = []
  for (let after: string | null = ''; after !== null; ) {
    const page: { entries: VolumeEntry[]; next: string | null } = await cell.location.call(VL.procedures.ListEntries, {
      ...{ after, limit: PAGE },
    })
    all.push(...page.entries)
    after = page.next
  }
  return all
}

export async function volumesOf(server: WsClient): Promise<VolumeInfo[]> {
  const all: VolumeInfo[] = []
  for (let after: number | null = 0; after !== null; ) {
    const page: { volumes: VolumeInfo[]; next: number | null } = await server.call(
      VOLSER.procedures.List,
      { after, limit: PAGE },
      { timeoutMs: 30_000 },
    )
    all.push(...page.volumes)
    after = page.next
  }
  return all
}

async function create(name: string, options: QuotaOptions & { readonly on?: string }): Promise<void> {
  if (!isVolumeName(name)) throw usageError(`${JSON.stringify(name)} is no name of a volume: letters, digits, . and -`)
  const output = createOutput(options.json)
  const { on } = options
  const limits = { quotaBytes: limitOf(options.quota, null), quotaInodes: limitOf(options.inodes, null) }
  await withCell(options, async (cell) => {
    const server = on === undefined ? cell.location : await memberOf(cell, on)
    const made = await server.call(VOLSER.procedures.Create, { name, ...limits }).catch((error) => {
      throw failureOf(error, name, { EEXIST: `there is a volume ${name} already` })
    })
    output.result({ ...made, server: server.name, cell: cell.cell })
    output.line(`${name} (${made.id}) is on ${server.name}; \`proteus afs mountpoint\` gives it a place.`)
  })
}

/** Only servers of the cell are dialled. */
export async function memberOf(cell: CellConnection, address: string): Promise<WsClient> {
  const { servers } = await cell.location.call(VL.procedures.ListServers, undefined)
  if (servers.some((server) => server.address === address)) return cell.server(address)
  const known = servers.map((server) => server.address).join(', ')
  throw usageError(`${address} is no file server of the cell ${cell.cell}; there are ${known}`)
}

async function deleteVolume(name: string, options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    try {
      const server = await cell.serverOf(name)
      const volume = name.replace(/\.backup$/, '')
      await withProgress({ server, volume, output }, (signal) =>
        server.call(VOLSER.procedures.Delete, { name }, { signal }),
      )
    } catch (error) {
      throw failureOf(error, name)
    }
    output.result({ event: 'deleted', name, cell: cell.cell })
    output.line(`${name} is deleted.`)
  })
}

async function quota(name: string, options: QuotaOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    try {
      const server = await cell.serverOf(name)
      const before = await infoOf(server, name)
      const quotaBytes = limitOf(options.quota, before.quotaBytes)
      const quotaInodes = limitOf(options.inodes, before.quotaInodes)
      const asked = options.quota === undefined && options.inodes === undefined
      const now = asked ? before : await server.call(VOLSER.procedures.SetQuota, { name, quotaBytes, quotaInodes })
      output.result({ ...now, server: server.name, cell: cell.cell })
      showQuota(output, now)
    } catch (error) {
      throw failureOf(error, name)
    }
  })
}

async function infoOf(server: WsClient, name: string): Promise<VolumeInfo> {
  const info = (await volumesOf(server)).find((volume) => volume.name === name)
  if (info === undefined) throw new CliError(`there is no volume ${name}: \`proteus afs volumes\` lists them`)
  return info
}

function showQuota(output: Output, { name, usedBytes, usedInodes, quotaBytes, quotaInodes }: VolumeInfo): void {
  const bytes = quotaBytes === null ? 'no limit' : showSize(quotaBytes)
  output.line(`${name}: ${showSize(usedBytes)} of ${bytes}, ${usedInodes} of ${quotaInodes ?? 'no limit of'} inodes`)
}
