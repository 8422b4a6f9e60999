// A lab: the serving processes that `proteus up` starts and ends. Which there are follows from its plan (lab-plan.ts).
import { endProcess, signal as sendSignal, waitForEnd } from '../serving/processes.ts'
import { type Exit, type ReadyMount, type ServingProcess, type ServingSpec, targetsOf } from '../serving/serving.ts'
import { type LabPlan, mountSpec, portsOf, serverSpec, targetsIn, type Urls, volumeUrls } from './lab-plan.ts'
import type { LabProcess } from './lab-state.ts'

/** One of a lab's processes: the server, or the one that serves a mount (its directory). */
export type Part = 'server' | { readonly mount: string }

export interface LabDependencies {
  start(spec: ServingSpec): ServingProcess
  /** The processes are others, or the URLs are known: time to write it down. */
  onChange(lab: Lab): void
}

/**
 * Why a lab is over: everything was closed in peace; one of its processes died; or it was lost, since neither another
 * mode nor the one before could be started.
 */
export type LabEnd = 'closed' | 'lost' | { readonly process: LabProcess; readonly exit: Exit }

/** How `Lab.end` ends processes. */
export interface EndOptions {
  /** How long they have, in milliseconds, before they are killed. */
  readonly graceMs: number
  /** Their mounts have been taken away: they are ending already, and are asked to only if they do not. */
  readonly ending?: boolean
}

export interface LaunchOptions {
  /** Where the server is to listen, by mode; otherwise on any free port. */
  readonly ports?: Readonly<Record<string, number>>
  /** Nothing more is started once it is aborted. */
  readonly signal?: AbortSignal
}

/**
 * How long a process without mounts has to end by itself, in milliseconds. It does not where another mount namespace has
 * a copy of them.
 */
const ENDING_MS = 3000
/** How long a process has to close that has nothing to lose, since it never got ready, in milliseconds. */
const UNREADY_MS = 2000

export class Lab {
  /** By mode; empty before the server has told. */
  urls: Urls = {}
  readonly mounts: ReadyMount[] = []
  /** Resolves when no mount process is left, or one of the processes has died. */
  readonly ended: Promise<LabEnd>
  readonly #dependencies: LabDependencies
  readonly #started: ServingProcess[] = []
  readonly #gone = new Map<ServingProcess, Exit>()
  readonly #starting = new Set<ServingProcess>()
  /** Killed on purpose. */
  readonly #crashed = new Set<ServingProcess>()
  /** Of servers beside the lab's own. */
  readonly #more = new Set<ServingSpec>()
  #switching = false
  #stopping = false
  #end!: (end: LabEnd) => void

  constructor(dependencies: LabDependencies) {
    this.#dependencies = dependencies
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /** In the order of their start. */
  get processes(): LabProcess[] {
    return this.#started.map(describe)
  }

  /** `stop` has been asked for. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** Starts everything; if something fails, what was started is stopped again. */
  async start(plan: LabPlan): Promise<void> {
    try {
      await this.launch(plan)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Takes over processes that another one has started: `urls` are their server's, or name the volume. */
  adopt(processes: readonly ServingProcess[], urls: Urls): void {
    this.urls = urls
    for (const serving of processes) this.#add(serving)
  }

  /** Starts those processes of a plan that are not there. */
  async launch(plan: LabPlan, { ports = {}, signal }: LaunchOptions = {}): Promise<void> {
    const hasServer = plan.protocols.length > 0
    const hasAlready = this.#started.some(({ spec }) => spec.role === 'server')
    if (!hasServer) this.urls = volumeUrls(plan)
    else if (!hasAlready) {
      const { urls, mounts } = await this.#launch(serverSpec(plan, ports), signal)
      this.urls = urls
      this.mounts.push(...mounts)
    }
    const served = this.processes.flatMap(({ targets }) => targets)
    const missing = targetsIn(plan).filter((target) => !served.includes(target))
    const groups = hasServer ? missing.map((target) => [target]) : missing.length > 0 ? [missing] : []
    for (const targets of groups) {
      this.mounts.push(...(await this.#launch(mountSpec(plan, targets, this.urls), signal)).mounts)
    }
  }

  /** One more server, which ends with the lab. */
  async serve(spec: ServerSpec): Promise<Urls> {
    this.#more.add(spec)
    return (await this.#launch(spec)).urls
  }

  /** While `change` runs, the lab survives whatever ends. What should not have is found afterwards. */
  async whileSwitching<T>(change: () => Promise<T>): Promise<T> {
    this.#switching = true
    try {
      return await change()
    } finally {
      this.#switching = false
      for (const serving of this.#started) this.#judge(serving)
    }
  }

  /** Ends processes for others to take their places. Returns those that had to be killed. */
  async end(
    which: (process: LabProcess) => boolean,
    { graceMs, ending = false }: EndOptions,
  ): Promise<readonly LabProcess[]> {
    const killed: LabProcess[] = []
    const group = this.#started.filter((serving) => which(describe(serving)))
    for (const serving of group) this.#crashed.add(serving)
    await Promise.all(
      group.map(async (serving) => {
        if (ending) await waitForEnd(serving.id, ENDING_MS)
        const wasReady = !this.#starting.has(serving)
        if ((await endProcess(serving.id, wasReady ? graceMs : UNREADY_MS)) === 'killed' && wasReady)
          killed.push(describe(serving))
      }),
    )
    const gone = new Set(group.flatMap((serving) => describe(serving).targets))
    this.#keep(this.#started, (serving) => !group.includes(serving))
    this.#keep(this.mounts, ({ target }) => !gone.has(target))
    this.#dependencies.onChange(this)
    return killed
  }

  /** Neither this mode nor another could be started: there is nothing to wait for any more. */
  lose(): void {
    this.#end('lost')
  }

  /** Mounts first, then the server. Resolves when all processes have ended. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const role of ['mount', 'server'] as const) {
      const group = this.#started.filter((serving) => serving.spec.role === role)
      await Promise.all(group.map((serving) => this.#stopOne(serving)))
    }
    // Stopped between two modes it has no process whose end would tell.
    this.#end('closed')
  }

  async #stopOne(serving: ServingProcess): Promise<void> {
    if (this.#starting.has(serving)) {
      // It may wait for a server, and hears of nothing before that answers. However it ends, it is asked to.
      this.#crashed.add(serving)
      await endProcess(serving.id, UNREADY_MS)
    } else {
      sendSignal(serving.id, 'SIGTERM')
    }
    await serving.exited
  }

  /** kill -9 of one process, which the lab survives: it waits for `startAgain`. Resolves when the process is gone. */
  async crash(part: Part): Promise<void> {
    const serving = this.#find(part)
    this.#crashed.add(serving)
    sendSignal(serving.id, 'SIGKILL')
    await serving.exited
  }

  /** Starts what `crash` has killed: the server on the same ports, the mounts on the same directories. */
  async startAgain(part: Part): Promise<void> {
    const dead = this.#find(part)
    if (!this.#crashed.has(dead)) throw new Error('only what has crashed is started again')
    this.#started.splice(this.#started.indexOf(dead), 1)
    const { spec } = dead
    await this.#launch(spec.role === 'server' ? onPorts(spec, portsOf(this.urls)) : spec)
  }

  /** The directories that a process serves. */
  targetsOf(part: Part): readonly string[] {
    return describe(this.#find(part)).targets
  }

  /** At once and without closing anything. */
  kill(): void {
    for (const serving of this.#started) sendSignal(serving.id, 'SIGKILL')
  }

  /** The processes go on without this one. */
  release(): void {
    for (const serving of this.#started) serving.release()
  }

  #find(part: Part): ServingProcess {
    const found = this.#started.find(({ spec }) =>
      part === 'server' ? spec.role === 'server' && !this.#more.has(spec) : targetsOf(spec).includes(part.mount),
    )
    if (found === undefined) throw new Error(`no process of this lab is ${JSON.stringify(part)}`)
    return found
  }

  /** Does not wait for it any longer once `signal` is aborted. */
  async #launch(spec: ServingSpec, signal?: AbortSignal): Promise<Awaited<ServingProcess['ready']>> {
    signal?.throwIfAborted()
    const serving = this.#dependencies.start(spec)
    this.#add(serving)
    this.#dependencies.onChange(this)
    // Asked to stop before this one was there: it must not be left behind.
    if (this.#stopping) sendSignal(serving.id, 'SIGTERM')
    this.#starting.add(serving)
    const ready = serving.ready.finally(() => this.#starting.delete(serving))
    if (signal === undefined) return ready
    let stopWaiting = (): void => undefined
    const aborted = new Promise<never>((_, reject) => {
      stopWaiting = () => reject(signal.reason)
      signal.addEventListener('abort', stopWaiting)
    })
    return Promise.race([ready, aborted]).finally(() => signal.removeEventListener('abort', stopWaiting))
  }

  #add(serving: ServingProcess): void {
    this.#started.push(serving)
    serving.exited.then((exit) => this.#exited(serving, exit))
  }

  #keep<T>(list: T[], wanted: (item: T) => boolean): void {
    list.splice(0, list.length, ...list.filter(wanted))
  }

  #exited(serving: ServingProcess, exit: Exit): void {
    this.#gone.set(serving, exit)
    if (!this.#switching) this.#judge(serving)
  }

  #judge(serving: ServingProcess): void {
    const exit = this.#gone.get(serving)
    if (exit === undefined || this.#crashed.has(serving)) return
    if (exit.code !== 0) this.#end({ process: describe(serving), exit })
    else if (this.#started.every((one) => isMerelyServer(one) || this.#gone.has(one))) this.#end('closed')
  }
}

function describe({ id, spec }: ServingProcess): LabProcess {
  return { ...id, role: spec.role, targets: targetsOf(spec) }
}

type ServerSpec = Extract<ServingSpec, { role: 'server' }>

function onPorts(spec: ServerSpec, ports: Readonly<Record<string, number>>): ServerSpec {
  const protocols = spec.protocols.map((protocol) => ({ ...protocol, port: ports[protocol.mode] ?? protocol.port }))
  return { ...spec, protocols }
}

const isMerelyServer = ({ spec }: ServingProcess): boolean => spec.role === 'server' && targetsOf(spec).length === 0
