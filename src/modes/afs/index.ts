// Mode `afs`: whole-file caching, callback promises, volumes.
import type { Mode } from '../mode.ts'
import { AfsMounts } from './cache-manager/index.ts'
import { parseAfsOptions } from './cache-manager/options.ts'
import { callbackOptions, parseCallbackOptions } from './callback-options.ts'
import { AfsServer } from './server.ts'

export const afsMode: Mode = {
  name: 'afs',
  summary: 'whole files are cached, others see a change after close, servers tell before anything changes',
  checkOptions: (options) => void parseAfsOptions(options),
  connect: async (address, options) => new AfsMounts(address, parseAfsOptions(options)),
  serverOptions: callbackOptions,
  checkServe: (request) => void parseCallbackOptions(request),
  async serve(request) {
    const { dataDirectory: directory, host, port } = request
    const server = await AfsServer.start({ directory, host, port, ...parseCallbackOptions(request) })
    const name = server.host.includes(':') ? `[${server.host}]` : server.host
    return { url: `afs://${name}:${server.port}/root.cell`, volume: server.volume, close: () => server.close() }
  },
}
