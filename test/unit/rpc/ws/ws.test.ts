// Client and server over loopback sockets: calls, errors, streams, both directions.
import { describe, expect, expectTypeOf, it } from 'vitest'
import { FsError } from '../../../../src/posix/errors.ts'
import { nothing, procedure, program, ServiceError, service, unsigned, WsError } from '../../../../src/rpc/ws/index.ts'
import { type RpcEvent, rpcChannel } from '../../../../src/trace/trace.ts'
import {
  add,
  broken,
  callBack,
  content,
  echo,
  fail,
  failure,
  fetch,
  hidden,
  note,
  probe,
  setup,
  sip,
  store,
  summarize,
  summaryOf,
  until,
  upload,
  WATCHER,
  wait,
} from './depot.ts'

describe('calls over WebSocket', () => {
  it('carry arguments and results', async () => {
    const { client, depot } = await setup({ id: 'me' })
    const data = Buffer.from('notes')
    expect(await client.call(echo, { data })).toEqual({ data })
    const answer = await client.call(add, { id: 3 })
    expect(answer).toEqual({ id: 3 })
    expectTypeOf(answer).toEqualTypeOf<{ id: number }>()
    expect(depot.contexts[0]?.peer.id).toBe('me')
    expect(client.status()).toMatchObject({ state: 'open', transport: 'ws', waiting: [] })
  })

  it('are pipelined, and answered in the order in which they are ready', async () => {
    const { client, depot } = await setup()
    const order: number[] = []
    const waits = [1, 2, 3].map((id) => client.call(wait, { id }).then(() => order.push(id)))
    await until(() => depot.waiting.length === 3)
    expect(client.status().waiting.map(({ op }) => op)).toEqual(['DEPOT.wait', 'DEPOT.wait', 'DEPOT.wait'])
    for (const id of [3, 1, 2]) depot.release(id)
    await Promise.all(waits)
    expect(order).toEqual([3, 1, 2])
  })

  it('wait for each other beyond the limit that the server has told', async () => {
    const { client, depot } = await setup({}, { limits: { calls: 4 } })
    const waits = Array.from({ length: 20 }, (_, id) => client.call(wait, { id }))
    for (let released = 0; released < 20; released++) {
      await until(() => depot.waiting.length > 0)
      expect(depot.waiting.length).toBeLessThanOrEqual(4)
      depot.release(depot.waiting[0] ?? -1)
    }
    expect(await Promise.all(waits)).toHaveLength(20)
  })

  it.each([
    ['errno', 'ENOSPC'],
    ['crash', 'EIO'],
    ['unknown code', 'EIO'],
    ['wrong detail', 'EIO'],
    ['large', 'EIO'],
    ['no plain data', 'EIO'],
  ])('fail with an errno and nothing else: %s', async (how, code) => {
    const { client } = await setup()
    const error = await failure(client.call(fail, { how }))
    expect(error).toBeInstanceOf(FsError)
    expect(error).toMatchObject({ code })
    expect(String(error)).not.toContain('secret')
  })

  it('fail with an error of the table and what belongs to it', async () => {
    const { client } = await setup()
    const error = await failure(client.call(fail, { how: 'service' }))
    expect(error).toBeInstanceOf(ServiceError)
    expect(error).toMatchObject({ code: 'MOVED', detail: { server: 'b' } })
  })

  it('are told what is not served, and what makes no sense', async () => {
    const { client, listener } = await setup()
    const other = program('DEPOT', 7, 1, {
      echo: procedure(1, unsigned(), nothing),
      far: procedure(99, nothing, nothing),
      bad: procedure(2, unsigned(), nothing),
    })
    const later = program('DEPOT', 7, 2, { echo: procedure(1, nothing, nothing) })
    const none = program('NONE', 70, 1, { echo: procedure(1, nothing, nothing) })
    const reason = async (promise: Promise<unknown>) => ((await failure(promise)) as WsError).reason
    expect(await reason(client.call(hidden, undefined))).toBe('PROC_UNAVAIL')
    expect(await reason(client.call(other.procedures.far, undefined))).toBe('PROC_UNAVAIL')
    expect(await reason(client.call(later.procedures.echo, undefined))).toBe('PROG_MISMATCH')
    expect(await reason(client.call(none.procedures.echo, undefined))).toBe('PROG_UNAVAIL')
    expect(await reason(client.call(other.procedures.echo, 7))).toBe('GARBAGE_ARGS')
    expect(await reason(client.call(other.procedures.bad, 7))).toBe('GARBAGE_ARGS')
    expect(await reason(client.call(fail, { how: 'wrong result' }))).toBe('BAD_REPLY')
    expect(await reason(client.call(echo, { data: Buffer.alloc(2 * 1024 * 1024) }))).toBe('BAD_ARGS')
    expect(await reason(client.call(echo, { data: new Date() as unknown as Buffer }))).toBe('BAD_ARGS')
    expect(listener.connections).toBe(1)
    expect(client.statistics.of('DEPOT.hidden').failures).toBe(1)
  })

  it('are cancelled: the handler hears of it, and the slot is free only when it has answered', async () => {
    const { client, depot } = await setup({ maxCalls: 1 })
    const controller = new AbortController()
    const first = failure(client.call(wait, { id: 1 }, { signal: controller.signal }))
    await until(() => depot.waiting.length === 1)
    controller.abort()
    expect(await first).toMatchObject({ reason: 'INTERRUPTED', code: 'EINTR' })
    expect(await client.call(add, { id: 2 })).toEqual({ id: 2 })
    expect(depot.aborted).toEqual([1])
  })

  it('are cancelled before they are sent, too', async () => {
    const { client, depot } = await setup({ maxCalls: 1 })
    const held = client.call(wait, { id: 1 })
    await until(() => depot.waiting.length === 1)
    const cancellation: { cancel?: () => void } = {}
    const queued = failure(client.call(add, { id: 2 }, { cancellation }))
    cancellation.cancel?.()
    expect(await queued).toMatchObject({ reason: 'INTERRUPTED' })
    depot.release(1)
    await held
    expect(depot.added.size).toBe(0)
  })

  it('time out when asked to', async () => {
    const { client, depot } = await setup()
    // One that was not sent by then would not be aborted either.
    await client.call(add, { id: 7 })
    const late = failure(client.call(wait, { id: 1 }, { timeoutMs: 20 }))
    expect(await late).toMatchObject({ reason: 'TIMED_OUT', code: 'ETIMEDOUT' })
    await until(() => depot.aborted.length === 1)
  })

  it('go both ways on one connection', async () => {
    const probed: number[] = []
    const watcher = service(WATCHER, {
      broken: ({ id }) => ({ id: id + 1 }),
      probe: ({ id }) => {
        probed.push(id)
      },
    })
    const { client, listener } = await setup({ id: 'me', services: [watcher] })
    expect(await client.call(callBack, { id: 7 })).toEqual({ id: 8 })
    const peer = listener.server.client('me')
    expect(await peer?.call(broken, { id: 1 })).toEqual({ id: 2 })
    expect(peer?.tell(probe, { id: 5 })).toBe(true)
    await until(() => probed.length === 1)
    client.close()
    await until(() => peer?.connected === false)
    expect(peer?.tell(probe, { id: 6 })).toBe(false)
    expect(await failure(peer?.call(broken, { id: 1 }) ?? Promise.resolve())).toMatchObject({ reason: 'DISCONNECTED' })
  })

  it('are cancelled in the other direction, too, and fail when the client goes', async () => {
    const signals: AbortSignal[] = []
    const watcher = service(WATCHER, {
      broken: ({ id }, { signal }) => {
        signals.push(signal)
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new FsError('EINTR', `${id}`))),
        )
      },
    })
    const { client, listener } = await setup({ id: 'me', services: [watcher], keep: true })
    await until(() => listener.server.client('me')?.connected === true)
    const peer = listener.server.client('me')
    const controller = new AbortController()
    const first = failure(peer?.call(broken, { id: 1 }, { signal: controller.signal }) ?? Promise.resolve())
    const second = failure(peer?.call(broken, { id: 2 }) ?? Promise.resolve())
    await until(() => signals.length === 2)
    controller.abort()
    expect(await first).toMatchObject({ reason: 'INTERRUPTED' })
    await until(() => signals[0]?.aborted === true)
    client.close()
    expect(await second).toMatchObject({ reason: 'DISCONNECTED' })
    expect(signals[1]?.aborted).toBe(true)
  })

  it('may be messages that nobody answers', async () => {
    const { client, depot } = await setup()
    expect(client.tell(note, { id: 1 })).toBe(false)
    await client.call(add, { id: 1 })
    for (let id = 2; id < 10; id++) expect(client.tell(note, { id })).toBe(true)
    await until(() => depot.notes.length === 8)
    expect(depot.notes).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('are traced on both sides', async () => {
    const seen: RpcEvent[] = []
    const listener = (event: RpcEvent) => seen.push(event)
    rpcChannel.subscribe(listener)
    try {
      const { client } = await setup({ mount: '/mnt' })
      await client.call(add, { id: 1 })
      await failure(client.call(fail, { how: 'service' }))
      const told = seen.map(({ op, side, error, detail, mount }) => ({ op, side, error, detail, mount }))
      expect(told).toContainEqual({ op: 'DEPOT.add', side: 'client', mount: '/mnt' })
      expect(told).toContainEqual({ op: 'DEPOT.fail', side: 'server', error: 'EREMOTEIO', detail: 'MOVED' })
    } finally {
      rpcChannel.unsubscribe(listener)
    }
  })

  it('fail when the client is closed', async () => {
    const { client, depot } = await setup()
    const waiting = failure(client.call(wait, { id: 1 }))
    await until(() => depot.waiting.length === 1)
    client.close()
    expect(await waiting).toMatchObject({ reason: 'CLOSED' })
    expect(await failure(client.call(add, { id: 1 }))).toMatchObject({ reason: 'CLOSED' })
    await until(() => depot.aborted.length === 1)
  })
})

describe('bytes that come with calls', () => {
  const SIZE = 10 * 1024 * 1024 + 12_345

  it('come with answers, whole', async () => {
    const { client, depot } = await setup()
    const { result, bytes } = await client.call(fetch, { bytes: SIZE })
    expect(bytes.length).toBe(SIZE)
    expect(await summarize(bytes)).toEqual(result)
    expect(result).toEqual(summaryOf(SIZE))
    expect(depot.ended).toEqual([`fetch at ${SIZE}`])
    expect(client.statistics.of('DEPOT.fetch').bytesReceived).toBe(SIZE)
    expect(client.status().waiting).toEqual([])
  })

  it('come with calls, whole, whether their number is known or not', async () => {
    const { client, depot } = await setup()
    expect(await client.call(store, { name: 'a' }, { bytes: content(SIZE), length: SIZE })).toEqual(summaryOf(SIZE))
    expect(await client.call(store, { name: 'b' }, { bytes: content(SIZE) })).toEqual(summaryOf(SIZE))
    expect(await client.call(store, { name: 'c' }, { bytes: [] })).toEqual({ bytes: 0, crc: 0 })
    expect(depot.stored).toEqual(['a', 'b', 'c'])
  })

  it('come in pieces as small as the other side wants them', async () => {
    const { client, depot } = await setup({ messageBytes: 4096 }, { limits: { messageBytes: 5000 } })
    const { result, bytes } = await client.call(fetch, { bytes: 100_000 })
    expect(await summarize(bytes)).toEqual(result)
    expect(await client.call(store, { name: 'a' }, { bytes: content(100_000) })).toEqual(summaryOf(100_000))
    expect(await failure(client.call(echo, { data: Buffer.alloc(5000) }))).toMatchObject({ reason: 'BAD_ARGS' })
    expect(await failure(client.call(echo, { data: Buffer.alloc(4090) }))).toMatchObject({ code: 'EIO' })
    expect(depot.stored).toEqual(['a'])
  })

  it('wait for whoever reads them: no more is asked of their source', async () => {
    const { client } = await setup()
    let given = 0
    const source = function* () {
      for (const part of content(64 * 1024 * 1024)) {
        given += part.length
        yield part
      }
    }
    const watcher = service(WATCHER, {
      upload: () => ({ result: { bytes: 0, crc: 0 }, bytes: source() }),
    })
    const { listener } = await setup({ id: 'me', services: [watcher], keep: true })
    await until(() => listener.server.client('me')?.connected === true)
    const answer = await listener.server.client('me')?.call(upload, { bytes: 1 })
    // Nobody reads: the first window is used up, and no more.
    let before = -1
    while (before !== given) {
      before = given
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(given).toBeLessThan(1024 * 1024)
    expect((await summarize(answer?.bytes ?? ([] as never))).bytes).toBe(64 * 1024 * 1024)
    // Meanwhile others go on.
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
  })

  it('let small calls pass', async () => {
    const { client } = await setup()
    let done = false
    const transfer = client.call(store, { name: 'a' }, { bytes: content(200 * 1024 * 1024, 1024 * 1024) }).then(() => {
      done = true
    })
    let calls = 0
    for (let id = 0; id < 20; id++) {
      await client.call(add, { id })
      if (!done) calls++
    }
    expect(calls).toBeGreaterThan(0)
    await transfer
  })

  it('share a connection fairly', async () => {
    const { client } = await setup()
    const progress = [0, 0, 0]
    const total = 16 * 1024 * 1024
    let firstDone: number[] | undefined
    await Promise.all(
      progress.map(async (_zero, i) => {
        const { bytes } = await client.call(fetch, { bytes: total })
        for await (const piece of bytes) progress[i] = (progress[i] ?? 0) + piece.length
        firstDone ??= [...progress]
      }),
    )
    for (const bytes of firstDone ?? []) expect(bytes).toBeGreaterThan(total / 4)
  })

  it('are cancelled by whoever reads them', async () => {
    const { client, depot } = await setup({ maxCalls: 1 })
    const { bytes } = await client.call(fetch, { bytes: SIZE })
    for await (const piece of bytes) {
      expect(piece.length).toBeGreaterThan(0)
      break
    }
    // There is room for another call only when the server has given up, too.
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
    expect(depot.ended).toHaveLength(1)
    expect(depot.ended[0]).not.toBe(`fetch at ${SIZE}`)
  })

  it('are cancelled by a signal while they come', async () => {
    const { client, depot } = await setup()
    const controller = new AbortController()
    const { bytes } = await client.call(fetch, { bytes: SIZE }, { signal: controller.signal })
    controller.abort()
    expect(await failure(summarize(bytes))).toMatchObject({ reason: 'INTERRUPTED' })
    await until(() => depot.ended.length === 1)
  })

  it('end early when the handler has enough', async () => {
    const { client } = await setup()
    let ended = false
    const source = function* () {
      try {
        yield* content(SIZE)
      } finally {
        ended = true
      }
    }
    const { bytes } = await client.call(sip, { bytes: 10 }, { bytes: source() })
    expect(bytes).toBeLessThan(SIZE)
    await until(() => ended)
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
  })

  it('fail with what their source fails with', async () => {
    const { client, depot } = await setup()
    const broken = function* () {
      yield Buffer.from('a')
      throw new FsError('EIO', 'a bad sector here')
    }
    expect(await failure(client.call(store, { name: 'a' }, { bytes: broken() }))).toMatchObject({ code: 'EIO' })
    expect(await failure(client.call(store, { name: 'b' }, { bytes: content(10), length: 11 }))).toBeInstanceOf(Error)
    expect(await failure(client.call(store, { name: 'c' }, { bytes: content(10), length: 9 }))).toBeInstanceOf(Error)
    const { bytes } = await client.call(fetch, { bytes: SIZE, breakAt: 1_000_000 })
    expect(await failure(summarize(bytes))).toMatchObject({ code: 'EIO' })
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
    expect(depot.stored).toEqual([])
  })

  it('fail, and nothing else, if their source is none', async () => {
    const { client, listener } = await setup({ id: 'me' })
    const noSource = (() => {
      throw new Error('no such file')
    }) as () => Iterable<Buffer>
    expect(String(await failure(client.call(store, { name: 'a' }, { bytes: noSource })))).toContain('no such file')
    expect(await failure(client.call(store, { name: 'a' }, { bytes: () => 5 as never }))).toBeInstanceOf(TypeError)
    const answers = [undefined, { result: { bytes: 0, crc: 0 } }, { result: { bytes: 0, crc: 0 }, bytes: 5 }]
    const watcher = service(WATCHER, { upload: () => answers.shift() as never })
    const other = await setup({ id: 'other', services: [watcher], keep: true })
    await until(() => other.listener.server.client('other')?.connected === true)
    const peer = other.listener.server.client('other')
    for (let i = 0; i < 2; i++) {
      expect(await failure(peer?.call(upload, { bytes: 0 }) ?? Promise.resolve())).toMatchObject({ code: 'EIO' })
    }
    const answer = await peer?.call(upload, { bytes: 0 })
    expect(await failure(answer?.bytes.collect(10) ?? Promise.resolve())).toMatchObject({ code: 'EIO' })
    expect(await client.call(add, { id: 1 })).toEqual({ id: 1 })
    expect(listener.connections).toBe(1)
  })

  it('must be there if the table says so, and only then', async () => {
    const { client } = await setup()
    // @ts-expect-error: bytes are missing
    expect(await failure(client.call(store, { name: 'a' }))).toBeInstanceOf(WsError)
    expect(() => procedure(1, nothing, nothing, { idempotent: false, bytesOut: true })).toThrow(TypeError)
  })
})
