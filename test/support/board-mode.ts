// A mode for tests of labs and commands only: one server that keeps the text of one file, `note`, and mounts in processes
// of their own that fetch it at each open and bring it at each close. A mount waits while the server is dead or its
// network is down, as a hard NFS mount does.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Mode, ModeMount, RunningServer, ServeRequest } from '../../src/modes/mode.ts'
import { FsError } from '../../src/posix/errors.ts'
import { S_IFREG } from '../../src/posix/mode.ts'
import type { NetworkControl } from '../../src/vfs/control.ts'
import type { CallContext, FileSystem, Handle, NodeId, Opened } from '../../src/vfs/filesystem.ts'
import { ROOT_NODE } from '../../src/vfs/filesystem.ts'
import { MemoryFileSystem } from './memory-fs.ts'

type Question = { readonly put: string } | { readonly get: true }

const RETRY_MS = 20

async function serve({ dataDirectory, host, port }: ServeRequest): Promise<RunningServer> {
  const file = join(dataDirectory, 'board')
  const read = (): string => {
    try {
      return readFileSync(file, 'utf8')
    } catch {
      return ''
    }
  }
  const answer = (question: Question): string => {
    if ('get' in question) return read()
    writeFileSync(`${file}.new`, question.put)
    renameSync(`${file}.new`, file)
    return question.put
  }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    receiveLine(socket, (line) => socket.end(`${JSON.stringify(answer(JSON.parse(line) as Question))}\n`))
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `board://${host}:${address.port}/`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function receiveLine(socket: Socket, take: (line: string) => void): void {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    if (text.endsWith('\n')) take(text.trimEnd())
  })
}

/** One question on a connection of its own; undefined if there is no answer. */
function ask(host: string, port: number, question: Question): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => socket.write(`${JSON.stringify(question)}\n`))
    receiveLine(socket, (line) => resolve(JSON.parse(line) as string))
    socket.on('error', () => undefined).on('close', () => resolve(undefined))
  })
}

class Network implements NetworkControl {
  isUp = true

  show(): string {
    return this.isUp ? 'up' : 'down'
  }

  set(line: string): void {
    if (line !== 'up' && line !== 'down') throw new FsError('EINVAL')
    this.isUp = line === 'up'
  }
}

function mountBoard(host: string, port: number): ModeMount {
  const network = new Network()
  const memory = new MemoryFileSystem()
  const context: CallContext = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal }
  const note = memory.makeNode(context, { parent: ROOT_NODE, name: 'note', mode: S_IFREG | 0o666, umask: 0 }).node
  const dirty = new Set<Handle>()

  const askUntilAnswered = async (question: Question, signal: AbortSignal): Promise<string> => {
    for (;;) {
      const answer = network.isUp ? await ask(host, port, question) : undefined
      if (answer !== undefined) return answer
      if (signal.aborted) throw new FsError('EINTR')
      await delay(RETRY_MS)
    }
  }
  const overwrite = (handle: Handle, text: string): void => {
    memory.setAttributes(context, note, { size: 0 })
    memory.write(context, handle, 0, Buffer.from(text), false)
  }
  const own: Partial<FileSystem> = {
    async open(context: CallContext, node: NodeId, flags: number): Promise<Opened> {
      const text = await askUntilAnswered({ get: true }, context.signal)
      const opened = memory.open(context, node, flags)
      if (node === note) overwrite(opened.handle, text)
      return { ...opened, directIo: true }
    },
    write(context, handle, offset, data, append) {
      dirty.add(handle)
      return memory.write(context, handle, offset, data, append)
    },
    async flush(context, handle) {
      if (!dirty.delete(handle)) return
      const { size } = memory.getAttributes(context, note).attributes
      const put = Buffer.from(memory.read(context, handle, 0, size)).toString()
      await askUntilAnswered({ put }, context.signal)
    },
  }
  const fileSystem = new Proxy<FileSystem>(memory, {
    get(target, name) {
      const value: unknown = Reflect.get(own, name) ?? Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { fileSystem, control: { status: () => ({ server: `${host}:${port}` }), network } }
}

export const boardMode: Mode = {
  name: 'board',
  summary: 'one file on one server, for tests',
  serve,
  async connect({ hosts }): Promise<Connection> {
    const [server] = hosts
    if (server?.port === undefined) throw new Error('mode board needs a server with its port')
    const { host, port } = server
    return { mount: () => mountBoard(host, port), close: async () => undefined }
  },
}
