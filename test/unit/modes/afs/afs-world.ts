// A file server on loopback and clients of it, whose callbacks are open to view.

import { AFS, AFSCB } from '../../../../src/modes/afs/protocol.ts'
import type { Fid, Known } from '../../../../src/modes/afs/records.ts'
import { AfsServer, type AfsServerOptions } from '../../../../src/modes/afs/server.ts'
import { ROOT_CELL } from '../../../../src/modes/afs/volume-registry.ts'
import { Link } from '../../../../src/rpc/link.ts'
import { openTcp } from '../../../../src/rpc/transport.ts'
import { service, WsClient, wsChannel } from '../../../../src/rpc/ws/index.ts'
import { random, seed } from '../../../support/random.ts'
import { scratch } from '../../store/volume-fixture.ts'

export const {
  FetchStatus,
  BulkStatus,
  FetchData,
  FetchDirectory,
  Lookup,
  Readlink,
  StoreData,
  StoreStatus,
  CreateFile,
  MakeDir,
  Symlink,
  MakeNode,
  Link: MakeLink,
  Rename,
  RemoveFile,
  RemoveDir,
  MakeMountPoint,
  SetLock,
  ExtendLock,
  ReleaseLock,
  GiveUpCallBacks,
  GiveUpAllCallBacks,
  GetVolumeStatus,
  GetHolders,
  GetTime,
  Probe,
} = AFS.procedures

export const superuser = { uid: 0, gid: 0, groups: [] }
export const alice = { uid: 1000, gid: 1000, groups: [] }
export const ROOT: Fid = { volume: ROOT_CELL.id, vnode: 1, unique: 1 }

export class Client {
  readonly id: string
  readonly link = new Link({ random: random(seed()) })
  readonly rpc: WsClient
  /** What the server told: vnodes of each CallBack, or 'init'. */
  readonly told: (readonly number[] | 'init')[] = []
  /** Called within the handler of CallBack, which answers when that is over. */
  onBreak: (fids: readonly Fid[]) => void | Promise<void> = () => {}
  onInit: () => void = () => {}

  constructor(id: string, port: number) {
    this.id = id
    const address = { host: '127.0.0.1', port }
    this.rpc = new WsClient(wsChannel(address, this.link.stream(openTcp(address))), {
      ...{ id, random: random(seed()), keep: true },
      services: [
        service(AFSCB, {
          Probe: () => {},
          CallBack: async ({ fids }) => {
            this.told.push(fids.map(({ vnode }) => vnode))
            await this.onBreak(fids)
          },
          InitCallBackState: () => {
            this.told.push('init')
            this.onInit()
          },
        }),
      ],
    })
  }

  readonly call: WsClient['call'] = (procedure, args, ...options) => this.rpc.call(procedure, args, ...options)

  /** Breaks, without the word at the beginning. */
  get breaks(): (readonly number[] | 'init')[] {
    return this.told.slice(1)
  }

  status(fid: Fid): Promise<Known> {
    return this.call(FetchStatus, { who: superuser, fid })
  }

  async create(name: string, parent = ROOT): Promise<Fid> {
    const { made } = await this.call(CreateFile, { who: superuser, parent, name, mode: 0o644 })
    return made.fid
  }

  async store(fid: Fid, content: string | Buffer, who = superuser) {
    const bytes = Buffer.from(content)
    const args = { who, fid, length: bytes.length, durable: false, changes: {} }
    return this.call(StoreData, args, { bytes: () => [bytes], length: bytes.length })
  }

  async fetch(fid: Fid, who = superuser): Promise<{ known: Known; content: string }> {
    const { result, bytes } = await this.call(FetchData, { who, fid, offset: 0 })
    return { known: result, content: (await bytes.collect(2 ** 26)).toString() }
  }
}

export interface World {
  readonly directory: string
  readonly server: AfsServer
  readonly errors: Error[]
  client(id: string): Client
  restart(): Promise<void>
  close(): Promise<void>
}

export async function world(options: Partial<AfsServerOptions> = {}): Promise<World> {
  const directory = options.directory ?? scratch()
  const errors: Error[] = []
  const start = (port: number) =>
    AfsServer.start({ directory, port, breakTimeoutMs: 300, onError: (error) => errors.push(error), ...options })
  let server = await start(0)
  const clients: Client[] = []
  return {
    ...{ directory, errors },
    get server() {
      return server
    },
    client: (id) => {
      const client = new Client(id, server.port)
      clients.push(client)
      return client
    },
    restart: async () => {
      const { port } = server
      await server.close()
      server = await start(port)
    },
    close: async () => {
      for (const { rpc } of clients) rpc.close()
      await server.close()
    },
  }
}
