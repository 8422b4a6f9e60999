// nfs-ganesha, an NFS server that others wrote, for our client.
//
// Its version 3 does not start without a portmapper, which listens on one fixed port and socket. So both run in network,
// mount and process namespaces of their own, which go with them, and a mount joins that network. That takes root.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { descendants, ended, killNow } from './processes.ts'

const NFS_PORT = 2049
const MOUNT_PORT = 20_048
const NLM_PORT = 32_803
const startMs = 30_000

/** Why it cannot be tried here; undefined if it can. */
export function whyNoGanesha(): string | undefined {
  if (process.getuid?.() !== 0) return 'nfs-ganesha needs a network of its own, and that needs root'
  const missing = ['ganesha.nfsd', 'rpcbind', 'unshare', 'nsenter'].filter(
    (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0,
  )
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`
  const namespaces = spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', 'true'])
  return namespaces.status === 0 ? undefined : `no namespaces here: ${namespaces.stderr}`
}

/** Why its lock manager cannot be tried here; undefined if it can. */
export function whyNoLocks(): string | undefined {
  const monitor = spawnSync('sh', ['-c', 'command -v rpc.statd']).status === 0
  return monitor ? undefined : 'a lock manager asks a status monitor to watch its clients; not installed: rpc.statd'
}

const MONITOR = `mkdir -p /run/nsm/sm /run/nsm/sm.bak
chown -R statd /run/nsm
rpc.statd -L -P /run/nsm
`

export class Ganesha {
  /** What is exported. */
  readonly directory: string
  readonly options = [`mountport=${MOUNT_PORT}`]
  readonly #log: string
  readonly #child: ChildProcess

  private constructor(folder: string) {
    this.directory = join(folder, 'export')
    this.#log = join(folder, 'ganesha.log')
    const config = join(folder, 'ganesha.conf')
    const script = join(folder, 'ganesha.sh')
    mkdirSync(this.directory)
    writeFileSync(config, configOf(this.directory, join(folder, 'recovery')))
    writeFileSync(
      script,
      `set -e
mount --make-rprivate /
mount -t tmpfs none /run
ip link set lo up 2>/dev/null || ifconfig lo up
rpcbind
${whyNoLocks() === undefined ? MONITOR : ''}exec ganesha.nfsd -F -f ${config} -L ${this.#log} -p /run/ganesha.pid
`,
    )
    const output = openSync(join(folder, 'ganesha.out'), 'a')
    const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc']
    this.#child = spawn('unshare', [...namespaces, 'sh', script], { stdio: ['ignore', output, output] })
    closeSync(output)
    process.on('exit', this.#atExit)
  }

  static async start(folder: string): Promise<Ganesha> {
    const server = new Ganesha(folder)
    try {
      for (const deadline = Date.now() + startMs; !server.#said('NFS SERVER INITIALIZED'); await sleep(20)) {
        if (server.#child.exitCode !== null || Date.now() > deadline) {
          const out = readFileSync(join(folder, 'ganesha.out'), 'utf8')
          throw new Error(`nfs-ganesha did not start\n${out}${server.#text().slice(-4000)}`)
        }
      }
      return server
    } catch (error) {
      await server.end()
      throw error
    }
  }

  get url(): string {
    return `nfs://127.0.0.1:${NFS_PORT}${this.directory}`
  }

  /** How a program is started that is to reach it. */
  get within(): { readonly program: string; readonly args: readonly string[] } {
    const [inside] = descendants(this.#child.pid ?? 0)
    return { program: 'nsenter', args: ['-t', String(inside), '-n', '--'] }
  }

  async end(): Promise<void> {
    const { pid } = this.#child
    process.off('exit', this.#atExit)
    if (pid === undefined) return
    const processes = [pid, ...descendants(pid)]
    killNow(pid)
    await Promise.all(processes.map(ended))
  }

  readonly #atExit = (): void => killNow(this.#child.pid ?? 0)

  #text(): string {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : ''
  }

  #said(what: string): boolean {
    return this.#text().includes(what)
  }
}

const configOf = (directory: string, recovery: string): string => `
NFS_CORE_PARAM {
  Protocols = 3; NFS_Port = ${NFS_PORT}; MNT_Port = ${MOUNT_PORT};
  Enable_NLM = ${whyNoLocks() === undefined}; NLM_Port = ${NLM_PORT}; Enable_RQUOTA = false;
}
NFSV4 { RecoveryRoot = "${recovery}"; Graceless = true; }
EXPORT {
  Export_Id = 1; Path = ${directory}; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Attr_Expiration_Time = 0; Protocols = 3; Transports = TCP; FSAL { Name = VFS; }
}
LOG { Default_Log_Level = EVENT; }
`
