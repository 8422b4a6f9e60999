// `proteus afs`: the volumes of an AFS cell, for those who administer it. Each command has a file in afs/.
import type { Command } from 'commander'
import { defineFlush, defineUnstored } from './afs/cached.ts'
import * as callbacks from './afs/callbacks.ts'
import { addConnectionOptions } from './afs/connection.ts'
import * as mountpoint from './afs/mountpoint.ts'
import * as replication from './afs/replication.ts'
import * as volumes from './afs/volumes.ts'
import { examples } from './support/options.ts'

const NOTES = [
  '',
  'A cell is a number of file servers; the first of them knows which one has which volume. A command asks the server that',
  '--server names, else that of the lab in the data directory.',
].join('\n')

export function define(command: Command): void {
  command.addHelpText(
    'after',
    `${NOTES}\n${examples(
      'proteus afs volumes',
      'proteus afs create home.alice --quota 1g',
      'proteus afs mountpoint mount/a/alice home.alice',
      'proteus afs move home.alice 127.0.0.1:7001',
      'proteus afs volumes --json',
    )}`,
  )
  const addPlain = (name: string, summary: string): Command =>
    command
      .command(name)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
      .summary(summary)
  const add = (name: string, summary: string): Command => addConnectionOptions(addPlain(name, summary))
  volumes.define(add)
  replication.define(add)
  mountpoint.define(add('mountpoint', 'show a volume at a place in another one, or no longer'))
  callbacks.define(add('callbacks', 'show who was promised to be told of changes'))
  defineFlush(addPlain('flush', 'drop what a mount keeps of files, so that it asks again'))
  defineUnstored(addPlain('unstored', 'list changes that the server does not have, store them, or give them up'))
}
