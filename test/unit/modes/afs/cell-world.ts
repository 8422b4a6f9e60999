// A cell of several file servers on loopback, and clients that find volumes by its location server.
import { readdirSync } from 'node:fs'
import { vi } from 'vitest'
import { VL, VOLSER, type VolserResult } from '../../../../src/modes/afs/protocol-volumes.ts'
import type { Fid } from '../../../../src/modes/afs/records.ts'
import { AfsServer, type AfsServerOptions } from '../../../../src/modes/afs/server.ts'
import { ServiceError } from '../../../../src/rpc/ws/index.ts'
import { scratch } from '../../store/volume-fixture.ts'
import { Client, GetVolumeStatus } from './afs-world.ts'

export const { GetCell, GetEntryByName, GetEntryById, ListEntries, ListServers, SetEntry } = VL.procedures
export const {
  Create,
  Delete,
  List,
  SetQuota,
  Release,
  AddSite,
  RemoveSite,
  Backup,
  Move,
  Transactions,
  Undelivered,
  GetReplica,
  ReceiveReplica,
  BeginArrival,
  Receive,
  CommitArrival,
} = VOLSER.procedures

export const noQuota = { quotaBytes: null, quotaInodes: null }

/** A file server that can be started again where it was, on another port. */
export class Member {
  readonly directory = scratch()
  readonly errors: Error[] = []
  readonly cell: Cell
  readonly isFirst: boolean
  /** What happens before a step of long work. */
  onStep: (operation: string, step: string) => void | Promise<void> = () => {}
  #server: AfsServer | undefined
  #port = 0
  #clients = 0

  constructor(cell: Cell, isFirst: boolean) {
    this.cell = cell
    this.isFirst = isFirst
  }

  get server(): AfsServer {
    if (this.#server === undefined) throw new Error('not started')
    return this.#server
  }

  /** As it was when it ran last. */
  address = ''

  async start(options: Partial<AfsServerOptions> = {}): Promise<this> {
    this.#server = await AfsServer.start({
      ...{ directory: this.directory, port: this.#port, breakTimeoutMs: 300 },
      onError: (error) => this.errors.push(error),
      onStep: (operation, step) => this.onStep(operation, step),
      ...(this.isFirst ? {} : { join: this.cell.first.address }),
      ...options,
    })
    this.#port = this.server.port
    this.address = this.server.address
    return this
  }

  async stop(): Promise<void> {
    await this.#server?.close()
    this.#server = undefined
  }

  client(id = `${this.cell.members.indexOf(this)}-${this.#clients++}`): Client {
    const client = new Client(id, this.server.port)
    this.cell.clients.push(client)
    return client
  }

  async names(): Promise<string[]> {
    const { volumes } = await this.client().call(List, { after: 0, limit: 100 })
    return volumes.map(({ name }) => name)
  }

  /** What lies in the directory of volumes. */
  files(): string[] {
    return readdirSync(`${this.directory}/afs/volumes`).sort()
  }
}

export class Cell {
  readonly members: Member[] = []
  readonly clients: Client[] = []

  get first(): Member {
    return this.members[0] as Member
  }

  async add(options: Partial<AfsServerOptions> = {}): Promise<Member> {
    const member = new Member(this, this.members.length === 0)
    this.members.push(member)
    return member.start(options)
  }

  async close(): Promise<void> {
    for (const { rpc } of this.clients.splice(0)) rpc.close()
    for (const member of [...this.members].reverse()) await member.stop()
  }
}

export async function cellOf(servers: number): Promise<Cell> {
  const cell = new Cell()
  for (let i = 0; i < servers; i++) await cell.add()
  return cell
}

export async function rootOf(client: Client, volume: string | number): Promise<Fid> {
  return (await client.call(GetVolumeStatus, { volume })).root
}

export const codeOf = (error: unknown): string | undefined =>
  error instanceof ServiceError ? error.code : (error as { code?: string }).code

export type Info = VolserResult<'Create'>

/** Waits for what must come. */
export const until = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000 })
