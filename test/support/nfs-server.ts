// A program that serves NFS, to be run by a test with an IPC channel (nfs-process.ts): nfs-server OPTIONS-AS-JSON
//
// It says `{ port }`, or `{ failed }`, and ends when its parent does. `dieAfterWrites` makes it kill itself, as kill -9
// does, when it has answered so many WRITEs: before anything is committed.
import { NfsServer, type NfsServerOptions } from '../../src/modes/nfs/server.ts'
import { rpcChannel } from '../../src/trace/trace.ts'

export interface NfsProgramOptions extends Pick<NfsServerOptions, 'directory' | 'port' | 'exports' | 'locking'> {
  readonly dieAfterWrites?: number
}

export type NfsProgramMessage = { readonly port: number } | { readonly failed: string }

const { dieAfterWrites, ...options } = JSON.parse(process.argv[2] ?? '{}') as NfsProgramOptions
let writes = 0
if (dieAfterWrites !== undefined) {
  rpcChannel.subscribe(({ op }) => {
    if (op !== 'NFS3.WRITE' || ++writes !== dieAfterWrites) return
    // When the replies of this turn have left.
    setImmediate(() => process.kill(process.pid, 'SIGKILL'))
  })
}

const say = (message: NfsProgramMessage) => process.send?.(message)
process.on('disconnect', () => process.exit())
NfsServer.start({ host: '127.0.0.1', onError: (error) => console.error(error), ...options }).then(
  ({ port }) => say({ port }),
  (error: Error) => say({ failed: error.message }),
)
