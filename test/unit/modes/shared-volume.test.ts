// Servers of several modes on one volume: whoever opened it closes it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { afsMode } from '../../../src/modes/afs/index.ts'
import type { Mode, RunningServer, ServeRequest } from '../../../src/modes/mode.ts'
import { nfsMode } from '../../../src/modes/nfs/index.ts'
import { Volume } from '../../../src/store/volume.ts'
import { scratch } from '../store/volume-fixture.ts'

let request: ServeRequest
const running: RunningServer[] = []
beforeEach(() => {
  request = { dataDirectory: scratch(), host: '127.0.0.1', port: 0, options: [] }
})
afterEach(async () => {
  for (const server of running.splice(0).reverse()) await server.close().catch(() => undefined)
})

async function serve(mode: Mode, changes: Partial<ServeRequest> = {}): Promise<RunningServer> {
  const server = await mode.serve?.({ ...request, ...changes })
  if (server === undefined) throw new Error(`mode ${mode.name} has no server`)
  running.push(server)
  return server
}

/** Nobody else can open it. */
const isOpen = (): Promise<boolean> =>
  Volume.open(request.dataDirectory).then(
    async (volume) => {
      await volume.close()
      return false
    },
    () => true,
  )

describe.each([
  [nfsMode, afsMode],
  [afsMode, nfsMode],
])('$name first', (first, second) => {
  test('the other serves the same volume, and leaves it open when it ends', async () => {
    const opener = await serve(first)
    const volume = opener.volume as Volume
    const guest = await serve(second, { volume })
    expect(guest.volume).toBe(volume)
    expect(opener.url).toMatch(new RegExp(`^${first.name}://127\\.0\\.0\\.1:\\d+/`))
    expect(guest.url).toMatch(new RegExp(`^${second.name}://127\\.0\\.0\\.1:\\d+/`))
    await guest.close()
    expect(await isOpen()).toBe(true)
    // What it left behind is in nobody's way.
    await (await serve(second, { volume })).close()
    await opener.close()
    expect(await isOpen()).toBe(false)
  })

  test('one that cannot start leaves it open, too', async () => {
    const { volume, url } = await serve(first)
    const port = Number(new URL(url).port)
    await expect(serve(second, { port, ...(volume && { volume }) })).rejects.toThrow(/EADDRINUSE/)
    expect(await isOpen()).toBe(true)
  })
})
