// What a mode is to the rest of the house: a small factory. The command line starts modes through it and knows no more.
//
// Every mode has a client half: `connect` to an address, then `mount` as often as there are mounts in this process.
// A mode with a server has `serve` too; then each mount is a process of its own. Without one (`local`) the
// connection is the volume itself, and one process serves all mounts.
import type { Volume } from '../store/volume.ts'
import type { ControlProvider } from '../vfs/control.ts'
import type { Awaitable, FileSystem } from '../vfs/filesystem.ts'

export interface Host {
  readonly host: string
  /** Absent: the mode's own port. */
  readonly port?: number
}

/** Where a file system comes from: a parsed URL such as `local:DIR` or `nfs://host[:port]/export`. */
export interface Address {
  /** The URL's scheme: the mode's name. */
  readonly mode: string
  /** The data directory, absolute, when there is no server (`local:DIR`). */
  readonly directory?: string
  /** Servers, in order of preference; empty when there is none. */
  readonly hosts: readonly Host[]
  readonly user?: string
  /** Export, volume, share or namespace: what follows the host, without its first slash. */
  readonly path: string
}

/** As it stands in a URL. */
export const authorityOf = ({ host, port }: Required<Host>): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`

/**
 * One option that is the mode's own: of a mount, which mount(8) does not know (`-o noac,actimeo=3`), or of its server
 * (`--export …`). A plain object: it travels as JSON.
 */
export interface ModeOption {
  readonly name: string
  /** What follows the first `=`, or the flag; absent if there is none. */
  readonly value?: string
}

/** What the user asked of a mode makes no sense. Its message is one line that names the option. */
export class ModeOptionError extends Error {
  override readonly name = 'ModeOptionError'
}

/** What a mount may need of the place where it is made. */
export interface MountPlace {
  /** The directory mounted on, absolute. */
  readonly target: string
  /** Where this mount may keep files of its own, absolute; the same for each mount on `target`. It need not exist. */
  readonly cacheDirectory: string
  /** Something that people should know, in one line. */
  warn(message: string): void
}

/** What one mount gets. */
export interface ModeMount {
  readonly fileSystem: FileSystem
  /** What this mount's `.proteus/` and `user.proteus.*` tell. */
  readonly control: ControlProvider
  /** The kernel is to check permissions from the attributes (`default_permissions`); otherwise the file system does. */
  readonly kernelChecksPermissions?: boolean
  /** What programs may miss on this mount, in sentences for the user. */
  readonly limitations?: readonly string[]
}

/** The client half at work: what the mounts of one process share. */
export interface Connection {
  /** A file system for one more mount. It ends with `FileSystem.detach`. */
  mount(place: MountPlace): Awaitable<ModeMount>
  /** Called once, after all mounts have been detached: everything acknowledged is made to last. */
  close(): Promise<void>
}

/** The server half at work. */
export interface RunningServer {
  /** What it serves. Absent: no other server can serve it as well, and nothing can be mounted beside. */
  readonly volume?: Volume
  /** The URL that clients connect to, with the port that it really listens on. */
  readonly url: string
  close(): Promise<void>
}

export interface ServeRequest {
  /** Where the server keeps everything, absolute. It exists. */
  readonly dataDirectory: string
  /** The address to listen on; loopback unless the user says otherwise. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Those that `serverOptions` lists, in order, each as often as it was given. */
  readonly options: readonly ModeOption[]
  /**
   * That of the data directory, if another server in this process has it open, which closes it after this one. Absent:
   * this server opens it and closes it.
   */
  readonly volume?: Volume
}

/** An option that `proteus serve <mode>` has for this mode alone. */
export interface ServerOption {
  /** As help shows it: `--export <line>`, or with a value that may be left out, `--portmap [port]`. */
  readonly flags: string
  readonly summary: string
  /** What may follow `proteus serve <mode>`. */
  readonly examples: readonly string[]
  /** Its value is a path: the server gets an absolute one. */
  readonly isPath?: true
}

export interface Mode {
  /** As in `--mode` and in URLs. */
  readonly name: string
  /** One line for people. */
  readonly summary: string
  /**
   * Reads the options that mount(8) does not know, in order, and throws a `ModeOptionError` for the first that is wrong.
   * It is asked before anything is started. Absent: the mode has none.
   */
  checkOptions?(options: readonly ModeOption[]): void
  /** The names of those whose value is a path: the mode gets an absolute one. */
  readonly pathOptions?: readonly string[]
  /** `options` are those that `checkOptions` had nothing against. */
  connect(address: Address, options: readonly ModeOption[]): Promise<Connection>
  /** Mounts of a volume that somebody else in this process holds, and closes. Absent: the mode has no such mounts. */
  connectBeside?(volume: Volume): Connection
  /** What the server may be told. Absent: nothing but where to listen and where to keep its files. */
  readonly serverOptions?: readonly ServerOption[]
  /** Throws a `ModeOptionError` for the first mistake. It is asked before anything is started. */
  checkServe?(request: ServeRequest): void
  /** Absent: the mode has no server. `checkServe` had nothing against the request. */
  serve?(request: ServeRequest): Promise<RunningServer>
}
