// The command table, and running one command line. A command's file is loaded only when its name is on the line.
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { describeError, EXIT, type ExitCode, exitCodeOf, usageError } from './exit.ts'

/** What each command's file exports: its arguments, options, help and action. */
export interface CommandModule {
  /** `args`: the whole command line, for a command whose options depend on what it is asked for. */
  define(command: Command, args: readonly string[]): void | Promise<void>
}

interface CommandEntry {
  readonly name: string
  readonly summary: string
  load(): Promise<CommandModule>
}

const COMMANDS: readonly CommandEntry[] = [
  { name: 'up', summary: 'start a lab: a server and two mounts of it', load: () => import('./up.ts') },
  { name: 'down', summary: 'stop the lab that `up` started', load: () => import('./down.ts') },
  { name: 'serve', summary: "run a mode's server alone", load: () => import('./serve.ts') },
  { name: 'mount', summary: 'mount one URL on one directory', load: () => import('./mount.ts') },
  { name: 'unmount', summary: 'unmount a directory', load: () => import('./unmount.ts') },
  { name: 'switch', summary: 'give the mounts of a lab other semantics', load: () => import('./switch.ts') },
  { name: 'status', summary: 'show what runs and how it is', load: () => import('./status.ts') },
  { name: 'trace', summary: 'watch the requests of a mount', load: () => import('./trace.ts') },
  { name: 'info', summary: 'show what the file system knows of a file', load: () => import('./info.ts') },
  { name: 'net', summary: 'show or set the network of a mount', load: () => import('./net.ts') },
  { name: 'orphans', summary: 'find what NFS clients that died left behind', load: () => import('./orphans.ts') },
  { name: 'afs', summary: 'administer the volumes of an AFS cell', load: () => import('./afs.ts') },
  { name: 'demo', summary: "play scenarios that show a mode's semantics", load: () => import('./demo.ts') },
  { name: 'doctor', summary: 'check what this machine lacks', load: () => import('./doctor.ts') },
  { name: 'bench', summary: 'measure against other file systems', load: () => import('./bench.ts') },
]

export interface ProgramStreams {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** Runs a command line (without node and script) and returns the exit code. Never rejects. */
export async function run(args: readonly string[], streams: ProgramStreams = process): Promise<ExitCode> {
  const { stdout, stderr, env } = streams
  const program = new Command('proteus')
    .version(version(), '--version', 'show the version')
    .description('Mount a directory with the semantics of a distributed file system of your choice.')
    .helpCommand('help [command]', 'show the help of a command')
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'proteus: ')),
    })
    .exitOverride()
    .addHelpText(
      'after',
      [
        '',
        'Start here:',
        '  $ proteus up             two mounts of one volume, until Ctrl-C',
        '  $ proteus demo           what a mode promises, shown on two mounts',
        '  $ proteus doctor         what this machine lacks, and how to get it',
        '',
        'Exit codes: 0 done, 1 failed, 2 bad usage. PROTEUS_DEBUG=1 shows where an error comes from.',
      ].join('\n'),
    )
  try {
    for (const { name, summary, load } of COMMANDS) {
      const command = program
        .command(name)
        .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
        .summary(summary)
      if (args.includes(name)) await (await load()).define(command, args)
    }
    if (args[0] === 'help' && args[1] !== undefined && !COMMANDS.some(({ name }) => name === args[1]))
      throw usageError(`unknown command '${args[1]}': \`proteus --help\` lists them`)
    if (args.length === 0) {
      program.outputHelp()
      return EXIT.ok
    }
    await program.parseAsync(args, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // Commander has printed its own message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    stderr.write(`proteus: ${describeError(error, Boolean(env.PROTEUS_DEBUG))}\n`)
    return exitCodeOf(error)
  }
}
