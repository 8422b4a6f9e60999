import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { unmountExport } from '../../../../src/modes/nfs/mount-protocol.ts'
import { MOUNT3 } from '../../../../src/modes/nfs/mount3.ts'
import { Link } from '../../../../src/rpc/link.ts'
import { authSys } from '../../../../src/rpc/onc/auth.ts'
import { OncServer } from '../../../../src/rpc/onc/server.ts'
import { service } from '../../../../src/rpc/onc/service.ts'
import { listenTcp } from '../../../../src/rpc/onc/tcp-server.ts'
import { listenUdp } from '../../../../src/rpc/onc/udp-server.ts'

const credential = authSys({ stamp: 0, machineName: '', uid: 0, gid: 0, gids: [] })

describe('UMNT', () => {
  let silent: Server | undefined
  afterEach(() => silent?.close())

  const unmount = (port: number, transport: 'tcp' | 'udp' = 'tcp') =>
    unmountExport({ mount: { host: '127.0.0.1', port }, path: '/export/a', credential }, new Link(), { transport })

  it('tells the server what is not mounted any more', async () => {
    const told: string[] = []
    const server = new OncServer([service(MOUNT3, { UMNT: (path) => void told.push(path) })])
    for (const listener of [await listenTcp(server), await listenUdp(server)]) {
      await unmount(listener.address.port, told.length === 0 ? 'tcp' : 'udp')
      await listener.close()
    }
    expect(told).toEqual(['/export/a', '/export/a'])
  })

  it('does not mind a server that is gone, or that says nothing', async () => {
    const gone = await listenTcp(new OncServer([]))
    await gone.close()
    await unmount(gone.address.port)
    silent = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => silent?.once('listening', resolve))
    await unmount((silent.address() as { port: number }).port)
  })
})
