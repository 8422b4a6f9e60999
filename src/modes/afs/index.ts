// Mode `afs`: whole files, kept until the server breaks its promise to tell of changes.
import { existsSync } from 'node:fs'
import { authorityOf, type Mode, ModeOptionError } from '../mode.ts'
import { CellDatabase } from './cache-manager/cell-database.ts'
import { AfsMounts } from './cache-manager/index.ts'
import { afsPathOptions, parseAfsOptions } from './cache-manager/options.ts'
import { AfsServer } from './server.ts'
import { parseServerOptions, serverOptions } from './server-options.ts'
import { ROOT_CELL } from './volume-registry.ts'

export const afsMode: Mode = {
  name: 'afs',
  summary:
    'AFS: whole files kept here, read at the speed of the disk; changes are seen by those who open after a close',
  checkOptions(options) {
    const { cellServDb: path, afsdb: dns } = parseAfsOptions(options)
    if (path !== undefined) new CellDatabase({ path, dns })
  },
  pathOptions: afsPathOptions,
  connect: async (address, options) => new AfsMounts(address, parseAfsOptions(options)),
  serverOptions,
  checkServe(request) {
    const { tokenFile } = parseServerOptions(request)
    if (tokenFile === undefined || existsSync(tokenFile)) return
    throw new ModeOptionError(`--token-file: there is no ${tokenFile}`)
  },
  async serve(request) {
    const { dataDirectory: directory, host, port, volume } = request
    const opened = volume === undefined ? {} : { opened: volume }
    const server = await AfsServer.start({ directory, host, port, ...opened, ...parseServerOptions(request) })
    return {
      url: `afs://${authorityOf(server)}/${ROOT_CELL.name}`,
      ...(server.rootCell === undefined ? {} : { volume: server.rootCell }),
      close: () => server.close(),
    }
  },
}
