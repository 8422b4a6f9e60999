// The command line as a user runs it: built, in another process, in a folder of its own that is left clean.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { detachMounts } from './mounts.ts'
import { ended, killNow, processesNaming } from './processes.ts'
import { type Finished, type Running, type RunOptions, start } from './run.ts'
import { scratch } from './targets.ts'

export const proteusMain = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What `lab.json` says, as far as tests look. */
interface LabFile {
  readonly processes: readonly { readonly pid: number }[]
}

export class Cli {
  /** The working directory of the commands; `--data` and `--mounts` of `up` lie in it. */
  readonly folder = scratch('cli')
  readonly data = join(this.folder, 'data')
  readonly a = join(this.folder, 'a')
  readonly b = join(this.folder, 'b')
  /** The options that name them. */
  readonly lab = ['--data', this.data, '--mounts', `${this.a},${this.b}`]
  readonly #main: string
  readonly #options: RunOptions
  readonly #started: Running[] = []

  /** `main`: another program than the one that is built. */
  constructor({ main = proteusMain, ...options }: RunOptions & { readonly main?: string } = {}) {
    this.#main = main
    this.#options = { cwd: this.folder, ...options, env: { TMPDIR: this.folder, ...options.env } }
  }

  start(...args: string[]): Running {
    const running = start(process.execPath, [this.#main, ...args], this.#options)
    this.#started.push(running)
    return running
  }

  run(...args: string[]): Promise<Finished> {
    return this.start(...args).finished
  }

  /** Runs a command that must succeed and print JSON; its lines. */
  async json(...args: string[]): Promise<Record<string, unknown>[]> {
    const { code, stdout, stderr } = await this.run(...args, '--json')
    if (code !== 0) throw new Error(`proteus ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`)
    return parseLines(stdout)
  }

  /** A new directory in the folder. */
  directory(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path)
    return path
  }

  /** The serving processes that lab.json names by now. */
  serving(): number[] {
    try {
      return (JSON.parse(readFileSync(join(this.data, 'lab.json'), 'utf8')) as LabFile).processes.map(({ pid }) => pid)
    } catch {
      return []
    }
  }

  /** Processes that work on this folder. */
  processes(): number[] {
    return processesNaming(this.folder)
  }

  async cleanUp(): Promise<void> {
    // Not all of them name the folder, and a test that failed may not have waited for its command.
    for (const { child } of this.#started) child.kill('SIGKILL')
    const processes = this.processes()
    for (const pid of processes) killNow(pid)
    await Promise.all(processes.map(ended))
    await detachMounts(this.folder)
  }
}

export function parseLines(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** Waits for something that must come; the test's own end is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2)
}

/** Waits for the `ready` line of a command that goes on. */
export async function ready({ child, finished }: Running): Promise<void> {
  let text = ''
  let over = false
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk
  })
  finished.then(
    () => {
      over = true
    },
    () => {
      over = true
    },
  )
  await until(() => over || text.includes('"event":"ready"'))
  if (over) throw new Error(`it ended before it was ready: ${(await finished).stderr}`)
}
