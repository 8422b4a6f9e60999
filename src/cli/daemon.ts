// The serving process: mounts, or a mode's server. Started by the commands (src/serving), not by people.
// It must never touch a mount that it serves: a synchronous call there would wait for itself.
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Logger, pino } from 'pino'
import { type MountedFileSystem, mount } from '../fuse/mount.ts'
import type { Connection, Mode, RunningServer } from '../modes/mode.ts'
import { usersOf } from '../serving/open-files.ts'
import type { MountsBeside, ParentMessage, ReadyMount, ServingMessage, ServingSpec } from '../serving/serving.ts'
import { unmount } from '../serving/target.ts'
import type { Volume } from '../store/volume.ts'
import { withControlDirectory } from '../vfs/control.ts'
import { CliError, describeError, errorCode } from './exit.ts'
import { loadMode } from './modes.ts'
import { describeMountFailure } from './support/mount-failure.ts'
import { parseUrl } from './support/url.ts'

/** How long programs that still use a mount have to close what they have open, in milliseconds. */
const GRACE_MS = 3000

/** What a serving process has going. */
interface Running {
  readonly ready: Extract<ServingMessage, { type: 'ready' }>
  /** Nothing is left to serve: all mounts were taken away from outside. */
  readonly ended: Promise<unknown>
  close(): Promise<void>
}

type MountSpec = Extract<ServingSpec, { role: 'mount' }>

async function startMounts(spec: MountSpec, log: Logger): Promise<Running> {
  const address = parseUrl(spec.url, '/')
  const mode = await loadMode(address.mode)
  return mountAll({ mode, connection: await mode.connect(address, spec.modeOptions), ...spec }, log)
}

interface MountsRequest extends Pick<MountSpec, 'url' | 'targets' | 'driver' | 'options' | 'cache'> {
  readonly mode: Mode
  readonly connection: Connection
}

/** Below the lab's own directory, or among the user's caches. */
function cacheDirectoryOf(
  target: string,
  base = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'proteus'),
) {
  return join(base, createHash('sha256').update(target).digest('hex').slice(0, 16))
}

/** Mounts a connection on directories; with the mounts it is closed, too. */
async function mountAll(request: MountsRequest, log: Logger): Promise<Running> {
  const { mode, connection, url, driver, options } = request
  const mounts: MountedFileSystem[] = []
  const ready: ReadyMount[] = []
  // Without those that were unmounted from outside: something else may be mounted there by now.
  const live = new Set<MountedFileSystem>()
  const close = async (): Promise<void> => {
    await Promise.all([...live].map((mounted) => end(mounted, log)))
    await connection.close()
  }
  try {
    for (const target of request.targets) {
      const {
        fileSystem,
        control,
        kernelChecksPermissions,
        limitations = [],
      } = await connection.mount({
        target,
        cacheDirectory: cacheDirectoryOf(target, request.cache),
        warn: (message) => log.warn({ target }, message),
      })
      let mounted: MountedFileSystem | undefined
      const controlled = withControlDirectory(fileSystem, control, {
        mode: mode.name,
        mount: target,
        owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
        createdMs: Date.now(),
        describe: () => ({ url, driver, limitations: [...limitations, ...(mounted?.limitations ?? [])] }),
      })
      mounted = await mount({
        fileSystem: controlled,
        target,
        driver,
        source: `proteus:${mode.name}`,
        options: kernelChecksPermissions ? { ...options, defaultPermissions: true } : options,
        onError: (error) => log.error({ err: error, target }, 'a request failed because of a defect'),
      }).catch((error) => {
        const message = describeMountFailure(error, target)
        throw message === undefined ? error : new CliError(message, { cause: error })
      })
      const added = mounted
      mounts.push(added)
      ready.push({ target, abilities: added.abilities, limitations: [...limitations, ...added.limitations] })
      live.add(added)
      added.closed
        .finally(() => live.delete(added))
        .catch((error) => log.error({ err: error, target }, 'detach failed'))
      log.info({ target, url, driver, abilities: mounted.abilities }, 'mounted')
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    ready: { type: 'ready', urls: { [mode.name]: url }, mounts: ready },
    ended: Promise.allSettled(mounts.map((mounted) => mounted.closed)),
    close,
  }
}

/** Unmounts; a mount in use is taken out of sight at once, and its programs have some time to finish. */
async function end(mounted: MountedFileSystem, log: Logger): Promise<void> {
  const { target, closed } = mounted
  try {
    await mounted.unmount()
  } catch (error) {
    const users = errorCode(error) === 'EBUSY' ? usersOf(target) : []
    log.warn({ err: error, target, users }, 'detaching the mount')
    if (errorCode(error) === 'EBUSY') await tell({ type: 'busy', target, users })
    // EINVAL: it is not mounted any more.
    await unmount(target, { lazy: true }).catch((reason) => log.warn({ err: reason, target }, 'could not detach'))
    await Promise.race([closed, delay(GRACE_MS, undefined, { ref: false })])
  }
  log.info({ target }, 'unmounted')
}

/** All modes of one volume: the first server opens it and is the last to close. */
async function startServer(spec: Extract<ServingSpec, { role: 'server' }>, log: Logger): Promise<Running> {
  const { protocols, host, data } = spec
  const servers: RunningServer[] = []
  const urls: Record<string, string> = {}
  let beside: Running | undefined
  const close = async (): Promise<void> => {
    try {
      await beside?.close()
    } finally {
      await closeInTurn(servers)
    }
  }
  try {
    for (const { mode: name, port, options = [] } of protocols) {
      const mode = await loadMode(name)
      if (mode.serve === undefined) throw new Error(`mode ${name} has no server`)
      const shared = servers.length > 0 ? { volume: volumeOf(servers, name) } : {}
      const server = await mode.serve({ dataDirectory: data, host, port, options, ...shared })
      servers.push(server)
      if (server.volume !== servers[0]?.volume) throw notBeside(name)
      urls[name] = server.url
      log.info({ url: server.url, data }, 'serving')
    }
    beside = spec.beside && (await mountBeside(volumeOf(servers, 'local'), spec.beside, data, log))
  } catch (error) {
    await close()
    throw error
  }
  return {
    ready: { type: 'ready', urls, mounts: beside?.ready.mounts ?? [] },
    ended: new Promise(() => undefined),
    close,
  }
}

/** What the first server has open. */
function volumeOf([first]: readonly RunningServer[], forMode: string): Volume {
  if (first?.volume === undefined) throw notBeside(forMode)
  return first.volume
}

const notBeside = (mode: string): CliError => new CliError(`beside this server there can be no mode ${mode}`)

/** From the last to the first, whatever fails. */
async function closeInTurn(servers: RunningServer[]): Promise<void> {
  const server = servers.pop()
  if (server === undefined) return
  try {
    await server.close()
  } finally {
    await closeInTurn(servers)
  }
}

/** Mounts that show the server's volume without going through it: what is done on either is seen on the other. */
async function mountBeside(volume: Volume, mounts: MountsBeside, data: string, log: Logger): Promise<Running> {
  const mode = await loadMode('local')
  const connection = mode.connectBeside?.(volume)
  if (connection === undefined) throw new Error('mode local has no mounts beside a server')
  return mountAll({ mode, connection, url: `local:${data}`, ...mounts }, log)
}

/** Tells the parent, if it still listens. */
function tell(message: ServingMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, () => resolve())
  })
}

/** Resolves when this process is to end: by a signal, or because its parent is gone without having released it. */
function stopRequest(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    const stop = (why: string) => () => {
      log.info({ why }, 'stopping')
      resolve()
    }
    // For good: a second signal must not cut short what the first one began.
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, stop(name))
    let released = false
    process.on('message', (message: ParentMessage) => {
      if (message.type === 'release') released = true
    })
    const abandoned = (): void => {
      if (!released) stop('the parent is gone')()
    }
    process.on('disconnect', abandoned)
    // It may have gone before anybody here listened.
    if (!process.connected) abandoned()
  })
}

async function main(): Promise<void> {
  const spec = JSON.parse(process.argv[2] ?? '') as ServingSpec
  // Standard output is the log file. No directory but the root stays in use because of this process.
  const log = pino({ base: { pid: process.pid } }, pino.destination({ fd: 1, sync: true }))
  process.chdir('/')
  const stop = stopRequest(log)
  let running: Running
  try {
    running = spec.role === 'mount' ? await startMounts(spec, log) : await startServer(spec, log)
  } catch (error) {
    log.error({ err: error }, 'could not start')
    await tell({ type: 'failed', message: describeError(error, false) })
    process.exit(1)
  }
  await tell(running.ready)
  await Promise.race([stop, running.ended])
  try {
    await running.close()
  } catch (error) {
    log.error({ err: error }, 'could not close in peace')
    process.exit(1)
  }
  log.info('ended')
  process.exit(0)
}

await main()
