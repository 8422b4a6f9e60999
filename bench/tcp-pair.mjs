// What two Node processes move over loopback with nothing but TCP: the bound of every network file system in Node.
// As a program (`tcp-pair.mjs serve`) it is the sending half.
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Daemon, placed } from './processes.mjs'

const MIB = 2 ** 20
const CHUNK_BYTES = MIB
const TOTAL_MIB = 1024
const LOOPBACK = '127.0.0.1'

/** MiB/s from one process to the other, as a figure for cold reads. */
export async function sampleTcpPair({ placement, round, settings }) {
  const { context } = settings
  const program = fileURLToPath(import.meta.url)
  const sender = new Daemon(placed(placement, [process.execPath, program, 'serve']))
  const end = context.cleanup.defer(() => sender.end())
  try {
    const port = await sender.line((line) => Number(line) || undefined, context)
    const receiver = new Daemon(placed(placement, [process.execPath, program, 'receive', String(port)]))
    const endReceiver = context.cleanup.defer(() => receiver.end())
    const rate = await receiver.line((line) => Number(line) || undefined, context)
    await endReceiver()
    return { round, placement, system: 'TCP pair', figures: { seq_read_cold_mib_s: rate }, errors: {} }
  } finally {
    await end()
  }
}

/** Sends so many MiB and ends the connection. */
export function sendPlain(socket, mib) {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'x')
  let left = mib * MIB
  const more = () => {
    while (left > 0) {
      left -= chunk.length
      if (!socket.write(chunk)) return
    }
    socket.end()
  }
  socket.on('error', () => {}).on('drain', more)
  more()
}

/** Receives from a port of loopback until the end; resolves to how many bytes that were. */
export function receivePlain(port) {
  return new Promise((resolve) => {
    let bytes = 0
    const socket = connect({ port, host: LOOPBACK })
    socket.on('data', ({ length }) => {
      bytes += length
    })
    socket.on('end', () => resolve(bytes))
  })
}

function serve() {
  const server = createServer({ noDelay: true }, (socket) => sendPlain(socket, TOTAL_MIB))
  server.listen(0, LOOPBACK, () => console.log(server.address().port))
}

async function receive(port) {
  const from = performance.now()
  const bytes = await receivePlain(port)
  console.log((bytes / MIB / ((performance.now() - from) / 1000)).toFixed(1))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === 'serve') serve()
  else receive(Number(process.argv[3]))
}
