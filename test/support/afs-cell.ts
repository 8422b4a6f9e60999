// A lab of mode afs with more file servers of its cell, and other cells, as people start them on the command line.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cli, parseLines, ready } from './cli.ts'
import type { Finished, Running } from './run.ts'

/** `proteus serve afs`. */
export interface Served {
  /** `host:port`. */
  readonly address: string
  readonly running: Running
}

export class AfsCell {
  /** Servers run for as long as the test does. */
  readonly cli = new Cli({ timeoutMs: 300_000 })
  /** Of the lab's server, which begins the cell. */
  first = ''

  /** `proteus up --mode afs`, with these options of its mounts. */
  async up(options: string): Promise<this> {
    const [up] = await this.cli.json('up', '--mode', 'afs', ...this.cli.lab, '-o', options, '--detach')
    this.first = addressIn(String(up?.url))
    return this
  }

  /** One more server, in a data directory of that name; it has what was there when it ran last. */
  async serve(name: string, ...options: string[]): Promise<Served> {
    const data = join(this.cli.folder, name)
    const running = this.cli.start('serve', 'afs', '--data', data, ...options, '--json')
    let said = ''
    running.child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk
    })
    await ready(running)
    return { address: addressIn(String(parseLines(said.slice(0, said.lastIndexOf('\n')))[0]?.url)), running }
  }

  /** kill -9 of a server; its process ends with the command. */
  async kill({ running }: Served): Promise<void> {
    running.child.kill('SIGKILL')
    await running.finished
  }

  /** kill -9 of the lab's server. */
  killFirst(): void {
    const { processes } = JSON.parse(readFileSync(join(this.cli.data, 'lab.json'), 'utf8')) as {
      processes: { pid: number; role: string }[]
    }
    for (const { pid, role } of processes) if (role === 'server') process.kill(pid, 'SIGKILL')
  }

  /** One more mount, of what a URL names. */
  async mount(url: string, name: string, options: string): Promise<string> {
    const directory = join(this.cli.folder, name)
    await this.cli.json('mount', url, directory, '-o', `${options},cachedir=${directory}.cache`)
    return directory
  }

  /** `proteus afs` with `--json`, which must succeed; the cell is the lab's. */
  afs(...args: string[]): Promise<Record<string, unknown>[]> {
    return this.cli.json('afs', ...args, '--data', this.cli.data)
  }

  /** The same as people see it. */
  tryAfs(...args: string[]): Promise<Finished> {
    return this.cli.run('afs', ...args, '--data', this.cli.data)
  }

  end(): Promise<void> {
    return this.cli.cleanUp()
  }
}

const addressIn = (url: string): string => url.replace(/^afs:\/\/([^/]*)\/.*$/, '$1')
