// A user without privileges, with a machine prepared for him: a mount namespace of its own, in which /dev/fuse is open
// to everybody and the checkout lies where everybody can read it. The machine's own /dev/fuse is not touched, and with
// the namespace every mount in it is gone.
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseLines } from './cli.ts'
import { ended, killNow, processesNaming } from './processes.ts'
import { type Finished, type Running, start } from './run.ts'
import { scratch } from './targets.ts'

const project = fileURLToPath(new URL('../..', import.meta.url))

/** nobody and nogroup: they have a name on every machine, without which fusermount3 does nothing. */
export const NOBODY = 65534

/**
 * The namespace begins with a copy of every mount there is: those of other daemons are let go at once, or they would
 * not end when they are unmounted outside. $1: the folder; $2: the checkout; $3: node; $4: the mode of /dev/fuse. It holds the
 * namespace until its input ends.
 */
const prepare = `
  awk '/ - fuse/ { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount -l
  mknod -m "$4" "$1/fuse" c 10 229
  mount --bind "$1/fuse" /dev/fuse
  mount --bind "$2" "$1/app"
  mount --bind "$3" "$1/bin/node"
  mount --bind "$1/fuse.conf" /etc/fuse.conf
  echo prepared
  exec cat`

interface Machine {
  /** The mode of /dev/fuse, in octal. */
  readonly device: string
  /** The text of /etc/fuse.conf. */
  readonly fuseConf: string
}

export class Unprivileged {
  /** The working directory: the user's own. */
  readonly home: string
  readonly #folder = scratch('user')
  readonly #holder: ChildProcess

  private constructor({ device, fuseConf }: Machine) {
    this.home = join(this.#folder, 'home')
    for (const name of ['home', 'app', 'bin']) mkdirSync(join(this.#folder, name))
    chownSync(this.home, NOBODY, NOBODY)
    writeFileSync(join(this.#folder, 'bin/node'), '')
    writeFileSync(join(this.#folder, 'fuse.conf'), fuseConf)
    const args = ['--mount', '--propagation', 'private', 'sh', '-ec', prepare, 'sh']
    this.#holder = spawn('unshare', [...args, this.#folder, project, process.execPath, device], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  }

  static async create(machine: Partial<Machine> = {}): Promise<Unprivileged> {
    const user = new Unprivileged({ device: '0666', fuseConf: '', ...machine })
    await new Promise<void>((resolve, reject) => {
      user.#holder.once('exit', () => reject(new Error('the namespace could not be prepared')))
      user.#holder.stdout?.once('data', () => resolve())
    })
    return user
  }

  /** A program in the namespace: as the user, or as root. */
  start(program: string, args: readonly string[], { root = false, path = '/usr/bin:/bin' } = {}): Running {
    const who = root ? [] : ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups']
    // Not nsenter's own --wd: that would be the directory in the namespace outside.
    const place = ['env', '-C', this.home, `HOME=${this.home}`, `PATH=${path}`]
    return start('nsenter', ['--target', `${this.#holder.pid}`, '--mount', ...who, ...place, program, ...args])
  }

  shell(script: string, options: { root?: boolean } = {}): Promise<Finished> {
    return this.start('/bin/sh', ['-ec', script], options).finished
  }

  /** The command line as the user types it. */
  proteus(...args: string[]): Promise<Finished> {
    return this.#proteus(args)
  }

  /** The same where fusermount3 is not installed, nor anything else. */
  proteusAlone(...args: string[]): Promise<Finished> {
    return this.#proteus(args, join(this.#folder, 'bin'))
  }

  async json(...args: string[]): Promise<Record<string, unknown>[]> {
    const { code, stdout, stderr } = await this.proteus(...args, '--json')
    if (code !== 0) throw new Error(`proteus ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`)
    return parseLines(stdout)
  }

  /** FUSE mounts in the namespace, as `target options`. */
  async mounts(): Promise<string[]> {
    const { stdout } = await this.shell('cat /proc/self/mountinfo')
    const lines = stdout.split('\n').filter((line) => line.includes(' - fuse.'))
    return lines.map((line) => line.split(' ').slice(4, 6).join(' '))
  }

  async close(): Promise<void> {
    const processes = processesNaming(this.#folder).filter((pid) => pid !== this.#holder.pid)
    for (const pid of processes) killNow(pid)
    await Promise.all(processes.map(ended))
    this.#holder.stdin?.end()
    if (this.#holder.pid !== undefined) await ended(this.#holder.pid)
  }

  #proteus(args: readonly string[], path?: string): Promise<Finished> {
    const node = join(this.#folder, 'bin/node')
    const main = join(this.#folder, 'app/dist/cli/main.js')
    return this.start(node, [main, ...args], path === undefined ? {} : { path }).finished
  }
}
