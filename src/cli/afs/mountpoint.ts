// `proteus afs mountpoint`: a directory of an afs mount that is the root of another volume.
import { basename, dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { AFS } from '../../modes/afs/protocol.ts'
import type { WsClient } from '../../rpc/ws/index.ts'
import { CliError, usageError } from '../exit.ts'
import { examples } from '../support/options.ts'
import { createOutput, shown } from '../support/output.ts'
import { type CellConnection, type ConnectionOptions, withCell } from './connection.ts'
import { failureOf } from './failures.ts'
import { locate } from './fids.ts'

interface MountpointOptions extends ConnectionOptions {
  readonly rw?: boolean
  readonly remove?: boolean
}

const { MakeMountPoint, RemoveFile, Lookup, GiveUpAllCallBacks } = AFS.procedures

export function define(command: Command): void {
  command
    .argument('<dir>', 'a name that is free, in an afs mount')
    .argument('[volume]', 'the volume that is to appear there')
    .option('--rw', 'always the volume that may be changed, never a replica')
    .option('--remove', 'the mount point goes; its volume stays')
    .addHelpText(
      'after',
      examples(
        'proteus afs mountpoint mount/a/alice home.alice',
        'proteus afs mountpoint mount/a/.docs docs --rw',
        'proteus afs mountpoint --remove mount/a/alice --json',
      ),
    )
    .action(mountpoint)
}

async function mountpoint(dir: string, volume: string | undefined, options: MountpointOptions): Promise<void> {
  const { rw: readWrite = false, remove = false, json } = options
  if (remove === (volume !== undefined)) throw usageError('a volume to show there, or --remove')
  if (remove && readWrite) throw usageError('--rw is for a mount point that is made')
  const path = resolve(dir)
  // Its own attributes would be those of the volume's root.
  const above = dirname(path)
  const output = createOutput(json)
  const { fid: parent, server: address } = await locate(above)
  const place = { who: whoAmI(), parent, name: basename(path) }
  const known = { EEXIST: `there is ${shown(path)} already`, ENOENT: `there is no ${shown(path)}` }
  const removeFrom = async (server: WsClient): Promise<void> => {
    const { found } = await server.call(Lookup, place)
    if (found === null) throw new CliError(known.ENOENT)
    if (found.status.type !== 'mountpoint') throw new CliError(`${shown(path)} is no mount point`)
    await server.call(RemoveFile, place)
    output.result({ event: 'removed', path })
    output.line(`${shown(path)} is gone; its volume is not.`)
  }
  const makeOn = async (cell: CellConnection, server: WsClient, name: string): Promise<void> => {
    // One that leads nowhere can be made, but nobody wants that.
    await cell.entry(name)
    await server.call(MakeMountPoint, { ...place, volume: name, readWrite })
    output.result({ event: 'made', path, volume: name, readWrite })
    output.line(`${shown(path)} shows ${name} now.`)
  }
  const run = withCell(
    options,
    async (cell) => {
      const server = await cell.server(address)
      try {
        if (volume === undefined) await removeFrom(server)
        else await makeOn(cell, server, volume)
      } finally {
        // What came with the answers is kept by nobody.
        await server.call(GiveUpAllCallBacks, undefined).catch(() => {})
      }
    },
    above,
  )
  await run.catch((error) => {
    const codes = { ...known, EACCES: `you may not write in ${shown(above)}`, EROFS: `${shown(above)} is in a clone` }
    throw failureOf(error, volume ?? shown(path), codes)
  })
}

const whoAmI = () => ({
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  groups: process.getgroups?.().slice(0, 1024) ?? [],
})
