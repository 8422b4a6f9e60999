// `proteus afs move|release|backup`: long work, which shows what it is at and can be called off.
import { VOLSER } from '../../modes/afs/protocol-volumes.ts'
import { CliError } from '../exit.ts'
import { examples } from '../support/options.ts'
import { createOutput } from '../support/output.ts'
import { type AddCommand, type ConnectionOptions, withCell } from './connection.ts'
import { failureOf } from './failures.ts'
import { memberOf } from './volumes.ts'
import { withProgress } from './work.ts'

interface ReleaseOptions extends ConnectionOptions {
  readonly addSite: readonly string[]
  readonly removeSite: readonly string[]
}

const several = (value: string, before: readonly string[]): string[] => [...before, value]

export function define(add: AddCommand): void {
  add('move', 'move a volume to another file server, while it is used')
    .argument('<name>', 'the volume')
    .argument('<host:port>', 'the file server')
    .addHelpText(
      'after',
      examples('proteus afs move home.alice 127.0.0.1:7001', 'proteus afs move v 10.0.0.2:7000 --json'),
    )
    .action(move)
  add('release', "make a volume's replicas anew, as it is now")
    .argument('<name>', 'the volume')
    .option('--add-site <host:port>', 'a file server that is to have a replica, from now on', several, [])
    .option('--remove-site <host:port>', 'a file server that is to have none any more', several, [])
    .addHelpText(
      'after',
      examples('proteus afs release root.cell', 'proteus afs release docs --add-site 127.0.0.1:7001 --json'),
    )
    .action(release)
  add('backup', 'make a snapshot of a volume: name.backup')
    .argument('<name>', 'the volume')
    .addHelpText('after', examples('proteus afs backup home.alice', 'proteus afs backup home.alice --json'))
    .action(backup)
}

async function move(name: string, to: string, options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    const known = { EINVAL: `${name} is on ${to} already` }
    try {
      await memberOf(cell, to)
      const server = await cell.serverOf(name)
      const from = server.name
      await withProgress({ server, volume: name, output }, (signal) =>
        server.call(VOLSER.procedures.Move, { name, to }, { signal }),
      )
      output.result({ event: 'moved', name, from, to, cell: cell.cell })
      output.line(`${name} is on ${to} now.`)
    } catch (error) {
      throw failureOf(error, name, known)
    }
  })
}

async function release(name: string, { addSite, removeSite, ...options }: ReleaseOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    try {
      const server = await cell.serverOf(name)
      for (const site of addSite) await memberOf(cell, site)
      const { sites } = await cell.entry(name)
      for (const site of addSite.filter((one) => !sites.includes(one))) {
        await server.call(VOLSER.procedures.AddSite, { name, server: site })
      }
      for (const site of removeSite) {
        await server.call(VOLSER.procedures.RemoveSite, { name, server: site }).catch((error) => {
          throw failureOf(error, name, { ENOENT: `${site} is no site of ${name}` })
        })
      }
      // Without a site left a release would make this server one.
      if (removeSite.length > 0 && (await cell.entry(name)).sites.length === 0) {
        output.result({ event: 'released', name, released: [], failed: [], cell: cell.cell })
        output.line(`${name} has no replicas any more.`)
        return
      }
      const { released, failed } = await withProgress({ server, volume: name, output }, (signal) =>
        server.call(VOLSER.procedures.Release, { name }, { signal }),
      )
      output.result({ event: 'released', name, released, failed, cell: cell.cell })
      if (released.length > 0) output.line(`${name}.readonly is new on ${released.join(', ')}.`)
      for (const { server: site, reason } of failed) output.warn(`${site} has the older one still: ${reason}`)
      if (failed.length > 0) throw new CliError(`${failed.length} of ${failed.length + released.length} sites failed`)
    } catch (error) {
      throw failureOf(error, name)
    }
  })
}

async function backup(name: string, options: ConnectionOptions): Promise<void> {
  const output = createOutput(options.json)
  await withCell(options, async (cell) => {
    try {
      const server = await cell.serverOf(name)
      const made = await withProgress({ server, volume: name, output }, (signal) =>
        server.call(VOLSER.procedures.Backup, { name }, { signal }),
      )
      output.result({ ...made, server: server.name, cell: cell.cell })
      output.line(`${made.name} (${made.id}) is ${name} as of now.`)
    } catch (error) {
      throw failureOf(error, name)
    }
  })
}
