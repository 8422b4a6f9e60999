// The stream over a connection that a server accepted.
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { type ByteStream, type ByteStreamEvents, readInto, SocketStream } from '../transport.ts'

/** What a socket of Node keeps of the connection itself. */
interface Held {
  _handle?: unknown
}

/**
 * Takes over a socket that a server with `pauseOnConnect` accepted. Such a socket takes 64 KiB of memory for each read,
 * which is a tenth of what a small call costs; one that is made with `onread` does not, but servers make none. So a second
 * one is made for the same connection, as node:child_process does with connections that it receives. Where sockets do not
 * hold their connection as Node 20's do, the first one is used.
 */
export function acceptedStream(socket: Socket, events: ByteStreamEvents): ByteStream {
  const held = socket as Held
  const handle = held._handle
  if (handle === undefined || handle === null) {
    const stream = new SocketStream(socket, events)
    stream.resume()
    return stream
  }
  held._handle = null
  socket.destroy()
  const options: SocketConstructorOpts & { handle: unknown; onread: OnReadOpts } = { handle, onread: readInto(events) }
  return new SocketStream(new Socket(options), events)
}
