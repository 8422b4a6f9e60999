// A service for tests, its state open to view, and what its server asks of clients.
import { crc32 } from 'node:zlib'
import * as v from 'valibot'
import { afterEach } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import { Link } from '../../../../src/rpc/link.ts'
import { openTcp } from '../../../../src/rpc/transport.ts'
import {
  bytes,
  type ListenWsOptions,
  listenWs,
  nothing,
  procedure,
  program,
  type Service,
  ServiceError,
  service,
  text,
  unsigned,
  WsClient,
  type WsClientOptions,
  type WsContext,
  type WsListener,
  wsChannel,
} from '../../../../src/rpc/ws/index.ts'
import { random, seed } from '../../../support/random.ts'

const Summary = v.object({ bytes: unsigned(), crc: unsigned() })
const Id = v.object({ id: unsigned() })

export const DEPOT = program(
  'DEPOT',
  7,
  1,
  {
    echo: procedure(1, v.object({ data: bytes(1024 * 1024) }), v.object({ data: bytes(1024 * 1024) })),
    add: procedure(2, Id, Id, { idempotent: false }),
    wait: procedure(3, Id, Id),
    hold: procedure(4, Id, Id, { idempotent: false }),
    fail: procedure(5, v.object({ how: text(20) }), nothing),
    fetch: procedure(6, v.object({ bytes: unsigned(), breakAt: v.optional(unsigned()) }), Summary, { bytesOut: true }),
    store: procedure(7, v.object({ name: text(20) }), Summary, { bytesIn: true, idempotent: false }),
    callBack: procedure(8, v.object({ id: unsigned() }), Id),
    hidden: procedure(9, nothing, nothing),
    note: procedure(10, Id, nothing),
    sip: procedure(11, v.object({ bytes: unsigned() }), Summary, { bytesIn: true }),
  },
  { errors: { MOVED: v.object({ server: text(64) }) } },
)
export const { echo, add, wait, hold, fail, fetch, store, callBack, hidden, note, sip } = DEPOT.procedures

/** What clients serve. */
export const WATCHER = program('WATCHER', 8, 1, {
  broken: procedure(1, Id, Id),
  probe: procedure(2, Id, nothing),
  upload: procedure(3, v.object({ bytes: unsigned() }), Summary, { bytesOut: true }),
})
export const { broken, probe, upload } = WATCHER.procedures

/** Bytes that are different everywhere, in chunks of uneven size. */
export function* content(total: number, chunk = 100_000): Generator<Buffer> {
  for (let at = 0; at < total; at += chunk) {
    const part = Buffer.alloc(Math.min(chunk, total - at))
    for (let i = 0; i < part.length; i += 997) part[i] = (at + i) % 251
    yield part
  }
}

export function summaryOf(total: number, chunk?: number): { bytes: number; crc: number } {
  let crc = 0
  for (const part of content(total, chunk)) crc = crc32(part, crc)
  return { bytes: total, crc }
}

export async function summarize(source: AsyncIterable<Buffer>): Promise<{ bytes: number; crc: number }> {
  let [count, crc] = [0, 0]
  for await (const piece of source) {
    count += piece.length
    crc = crc32(piece, crc)
  }
  return { bytes: count, crc }
}

export class Depot {
  /** How often each was executed. */
  readonly added = new Map<number, number>()
  readonly stored: string[] = []
  readonly notes: number[] = []
  readonly contexts: WsContext[] = []
  readonly aborted: number[] = []
  readonly ended: string[] = []
  readonly #waiting = new Map<number, () => void>()

  get waiting(): number[] {
    return [...this.#waiting.keys()]
  }

  release(id: number): void {
    this.#waiting.get(id)?.()
    this.#waiting.delete(id)
  }

  readonly service: Service = service(DEPOT, {
    echo: ({ data }, context) => {
      this.contexts.push(context)
      return { data }
    },
    add: ({ id }) => {
      this.added.set(id, (this.added.get(id) ?? 0) + 1)
      return { id }
    },
    wait: ({ id }, { signal }) => this.#wait(id, signal),
    hold: async ({ id }, { signal }) => {
      this.added.set(id, (this.added.get(id) ?? 0) + 1)
      return this.#wait(id, signal)
    },
    fail: ({ how }) => {
      if (how === 'errno') throw new FsError('ENOSPC', 'a secret path')
      if (how === 'service') throw new ServiceError('MOVED', { server: 'b' })
      if (how === 'unknown code') throw new ServiceError('NOT_IN_THE_TABLE')
      if (how === 'wrong detail') throw new ServiceError('MOVED', { server: 7 })
      if (how === 'large') return 'x'.repeat(2 * 1024 * 1024) as unknown as undefined
      if (how === 'wrong result') return { secret: 1 } as unknown as undefined
      if (how === 'no plain data') return new Date() as unknown as undefined
      throw new Error('a secret')
    },
    fetch: ({ bytes: total, breakAt }) => ({
      result: summaryOf(total),
      bytes: this.#content(total, breakAt),
      length: total,
    }),
    store: async ({ name }, { bytes: incoming }) => {
      const summary = await summarize(incoming)
      this.stored.push(name)
      return summary
    },
    callBack: async ({ id }, { peer }) => peer.call(broken, { id }),
    note: ({ id }) => {
      this.notes.push(id)
    },
    sip: async ({ bytes: wanted }, { bytes: incoming }) => {
      let count = 0
      for await (const piece of incoming) {
        count += piece.length
        if (count >= wanted) break
      }
      return { bytes: count, crc: 0 }
    },
  })

  #wait(id: number, signal: AbortSignal): Promise<{ id: number }> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, () => resolve({ id }))
      signal.addEventListener('abort', () => {
        this.aborted.push(id)
        this.#waiting.delete(id)
        reject(new FsError('EINTR'))
      })
    })
  }

  *#content(total: number, breakAt = Infinity): Generator<Buffer> {
    let at = 0
    try {
      for (const part of content(total)) {
        if (at >= breakAt) throw new FsError('EIO', 'a bad sector')
        at += part.length
        yield part
      }
    } finally {
      this.ended.push(`fetch at ${at}`)
    }
  }
}

export interface Lab {
  readonly depot: Depot
  readonly listener: WsListener
  readonly link: Link
  readonly client: WsClient
  readonly events: string[]
  readonly dropped: string[]
  readonly errors: string[]
  /** Ends the server and starts it again on its port. */
  restart(): Promise<void>
  newClient(options?: WsClientOptions): WsClient
  close(): Promise<void>
}

/** A server and a client on loopback, with a link between. */
export async function lab(options: WsClientOptions = {}, server: Partial<ListenWsOptions> = {}): Promise<Lab> {
  const depot = new Depot()
  const [events, dropped, errors]: string[][] = [[], [], []]
  const listen = (port: number) =>
    listenWs({
      ...{ port, services: [depot.service] },
      onDropped: (_peer, error) => dropped?.push(String(error)),
      onError: (error, name) => errors?.push(`${name} ${error}`),
      ...server,
    })
  let listener = await listen(0)
  const { address } = listener
  const link = new Link({ random: random(seed()) })
  const clients: WsClient[] = []
  const newClient = (more: WsClientOptions = {}) => {
    const channel = wsChannel(address, link.stream(openTcp(address)))
    const client = new WsClient(channel, { random: random(seed()), onEvent: ({ type }) => events?.push(type), ...more })
    clients.push(client)
    return client
  }
  return {
    ...{ depot, link, events: events ?? [], dropped: dropped ?? [], errors: errors ?? [], newClient },
    client: newClient(options),
    get listener() {
      return listener
    },
    restart: async () => {
      await listener.close()
      listener = await listen(address.port)
    },
    close: async () => {
      for (const client of clients) client.close()
      await listener.close()
    },
  }
}

/** Labs of the test that runs: they are closed when it is over. */
let open: Lab[] = []
afterEach(async () => {
  for (const one of open) await one.close()
  open = []
})

export async function setup(...options: Parameters<typeof lab>): Promise<Lab> {
  const made = await lab(...options)
  open.push(made)
  return made
}

/** What a promise fails with; undefined: it does not. */
export const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setTimeout(resolve, 1))
}
