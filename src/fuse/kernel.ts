// The kernel driver: one /dev/fuse connection served by one session.
import { execFile } from 'node:child_process'
import type { Stats } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { addon, type FuseDevice } from '../host/addon.ts'
import { KeepAwake } from '../host/keep-awake.ts'
import { fuseChannel, traceTime } from '../trace/trace.ts'
import type { KernelAbilities } from '../vfs/filesystem.ts'
import type { Agreement } from './init.ts'
import { DeviceKernelCache } from './kernel-cache.ts'
import type { MountedFileSystem, MountRequest } from './mount.ts'
import { kernelOptions } from './options.ts'
import { REPLY_BYTES, type Served, Session } from './session.ts'

/** How long to stay awake after a request, in microseconds, unless the mount says otherwise. */
const SPIN_US = 200
/** How long a mount waits for the attributes of its root, in milliseconds. */
const ROOT_MS = 2000

export async function mountKernel(request: MountRequest): Promise<MountedFileSystem> {
  const { fileSystem, target } = request
  const onError = request.onError ?? (() => undefined)
  const native = addon()
  const privileged = process.geteuid?.() === 0
  const options = kernelOptions(request)
  const fd = privileged ? native.mount(target, options.mount) : native.mountWithHelper(target, options.helper)

  const awake = new KeepAwake(request.spinUs ?? SPIN_US)
  const replyBytes = Buffer.alloc(REPLY_BYTES)
  const closed = new Deferred<void>()
  const initialized = new Deferred<KernelAbilities>()

  const handler = {
    onRequest(length: number): number {
      awake.touch()
      return session.receive(length)
    },
    onError,
    onClose(): void {
      process.off('exit', closeAtExit)
      initialized.reject(new Error(`the mount on ${target} ended before it began`))
      device.close()
      session.close()
      Promise.resolve(fileSystem.detach?.()).then(() => closed.resolve(), closed.reject)
    },
  }
  const device: FuseDevice = native.openDevice(fd, handler, replyBytes)
  const session = new Session({
    fileSystem,
    device,
    replyBytes,
    wishes: { ...fileSystem.wants, locks: fileSystem.locks !== undefined, readdirPlus: true },
    onError,
    onInitialized(agreement) {
      const can = abilities(agreement, fileSystem.locks !== undefined, privileged)
      fileSystem.attach?.(new DeviceKernelCache(device, can, agreement.expireOnly))
      initialized.resolve(can)
    },
    watch: () => (fuseChannel.hasSubscribers ? publish : undefined),
  })
  const publish = ({ operation, request, us, error }: Served): void => {
    const { node, pid, name, bytes } = request
    fuseChannel.publish({
      time: traceTime(),
      mount: target,
      op: operation,
      node,
      pid,
      us,
      ...(name === undefined ? {} : { name }),
      ...(bytes === undefined ? {} : { bytes }),
      ...(error === undefined ? {} : { error }),
    })
  }
  // A notification that waits for the kernel would keep an exiting process from ending.
  const closeAtExit = (): void => device.close()
  process.once('exit', closeAtExit)
  device.start()

  const agreed = await initialized.promise
  const root = await learnRoot(target)
  const { readAheadBytes } = fileSystem.wants ?? {}
  if (privileged && root !== undefined && readAheadBytes !== undefined) await readAhead(root.dev, readAheadBytes)
  return {
    target,
    abilities: agreed,
    limitations: [],
    closed: closed.promise,
    async unmount() {
      await (privileged ? native.unmount(target, false) : unmountWithHelper(target))
      await closed.promise
    },
  }
}

/**
 * At first the kernel knows nothing of the root, not even who may enter. If its first question is overtaken by a
 * notification, it drops the answer and refuses whoever wanted to enter (EACCES): so it asks before anybody is there to
 * change something. Not synchronously, since the answer comes from this process.
 */
async function learnRoot(target: string): Promise<Stats | undefined> {
  const asked = stat(target).catch(() => undefined)
  return await Promise.race([asked, delay(ROOT_MS, undefined, { ref: false })])
}

/** What INIT offers is no more than the default; beyond it leads the mount's own entry in sysfs. `device`: st_dev. */
async function readAhead(device: number, bytes: number): Promise<void> {
  const major = (device >>> 8) & 0xfff
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00)
  const kib = String(Math.floor(bytes / 1024))
  // Where sysfs is read-only, as in a container, it stays as it is.
  await writeFile(`/sys/class/bdi/${major}:${minor}/read_ahead_kb`, kib).catch(() => undefined)
}

/** Unmounts as who may not: through fusermount3. EBUSY while programs use the mount. */
function unmountWithHelper(target: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('fusermount3', ['-u', '--', target], (error, _stdout, stderr) => {
      if (error === null) resolve()
      else
        reject(Object.assign(new Error(stderr.trim() || error.message), stderr.includes('busy') && { code: 'EBUSY' }))
    })
  })
}

/** A promise and its two ends; one that nobody waits for may fail in silence. */
class Deferred<T> {
  resolve!: (value: T) => void
  reject!: (error: unknown) => void
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })

  constructor() {
    this.promise.catch(() => undefined)
  }
}

function abilities(agreement: Agreement, locks: boolean, privileged: boolean): KernelAbilities {
  return {
    passthrough: agreement.passthrough && privileged,
    invalidation: true,
    nameEpochs: agreement.nameEpochs,
    locks,
  }
}
