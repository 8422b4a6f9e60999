// What a lab is to be: its mounts, the mode of each, and what its server process serves. From that follows which processes
// there are. Modes with a server get one process together, since a volume is open in one only, and another for each
// mount. Mounts of a mode without one (`local`) are where the volume is: in that process if there is one, else all in one.
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { ModeOption } from '../modes/mode.ts'
import type { Driver, MountFlags, ServingSpec } from '../serving/serving.ts'

type MountSpec = Extract<ServingSpec, { role: 'mount' }>
type ServerSpec = Extract<ServingSpec, { role: 'server' }>

/** How the mounts of a lab are made: what another mode's are to have in common with them. */
export interface MountSettings {
  readonly driver: Driver
  readonly options: MountFlags
  /** By mode: those that it knows. A mode that is not there has none. */
  readonly modeOptions: Readonly<Record<string, readonly ModeOption[]>>
}

export interface LabMount {
  /** The directory, absolute. */
  readonly target: string
  readonly mode: string
}

export interface LabPlan extends MountSettings {
  /** Data directory, absolute. */
  readonly data: string
  readonly mounts: readonly LabMount[]
  /** The modes that its server process serves. None: there is no server, and all mounts are of one mode. */
  readonly protocols: readonly string[]
  /** By mode: what its server is told. A mode that is not there is told nothing. */
  readonly serverOptions?: Readonly<Record<string, readonly ModeOption[]>>
}

/** By mode: where its mounts connect to. */
export type Urls = Readonly<Record<string, string>>

/** The address that servers of a lab listen on. */
const HOST = '127.0.0.1'

/** What the lab is called: the modes of its server, or else that of its mounts. */
export const modeOfLab = ({ protocols, mounts }: Pick<LabPlan, 'protocols' | 'mounts'>): string =>
  protocols.length > 0 ? protocols.join(',') : (mounts[0]?.mode ?? '')

export const modesOf = ({ mounts }: Pick<LabPlan, 'mounts'>): Readonly<Record<string, string>> =>
  Object.fromEntries(mounts.map(({ target, mode }) => [target, mode]))

export const targetsIn = ({ mounts }: Pick<LabPlan, 'mounts'>): readonly string[] => mounts.map(({ target }) => target)

/** The mounts in the server's process. */
export const besideIn = ({ mounts, protocols }: Pick<LabPlan, 'mounts' | 'protocols'>): readonly string[] =>
  protocols.length === 0 ? [] : targetsIn({ mounts: mounts.filter(({ mode }) => !protocols.includes(mode)) })

/** What a table by mode has for one. */
const at = <T>(table: Readonly<Record<string, T>>, mode: string): T | undefined =>
  Object.hasOwn(table, mode) ? table[mode] : undefined

export const optionsOf = ({ modeOptions }: Pick<MountSettings, 'modeOptions'>, mode: string): readonly ModeOption[] =>
  at(modeOptions, mode) ?? []

/** Where mounts of a lab without a server find the volume. */
export function volumeUrls(plan: LabPlan): Urls {
  const mode = modeOfLab(plan)
  return { [mode]: `${mode}:${plan.data}` }
}

/** `ports`: where a mode is to listen; otherwise on any free port. */
export function serverSpec(plan: LabPlan, ports: Readonly<Record<string, number>>): ServerSpec {
  const { data, protocols, driver, options, serverOptions = {} } = plan
  const targets = besideIn(plan)
  const told = (mode: string) => {
    const said = at(serverOptions, mode) ?? []
    return said.length === 0 ? {} : { options: said }
  }
  return {
    role: 'server',
    protocols: protocols.map((mode) => ({ mode, port: at(ports, mode) ?? 0, ...told(mode) })),
    data,
    host: HOST,
    ...(targets.length > 0 ? { beside: { targets, driver, options } } : {}),
  }
}

/** A process for mounts of one mode. */
export function mountSpec(plan: LabPlan, targets: readonly string[], urls: Urls): MountSpec {
  const { data, driver, options } = plan
  const mode = plan.mounts.find(({ target }) => target === targets[0])?.mode ?? modeOfLab(plan)
  const modeOptions = optionsOf(plan, mode)
  const cache = join(data, 'cache')
  return { role: 'mount', url: at(urls, mode) ?? '', targets, driver, options, modeOptions, cache }
}

export const isSameSet = (a: readonly string[], b: readonly string[]): boolean =>
  isDeepStrictEqual(new Set(a), new Set(b))

/** The first: of a lab of one mode its only one. */
export const mainUrl = (urls: Urls): string | undefined => Object.values(urls)[0]

/** The ports in the URLs of servers. */
export function portsOf(urls: Urls): Record<string, number> {
  const remote = Object.entries(urls).filter(([, url]) => url.includes('://'))
  return Object.fromEntries(remote.map(([mode, url]) => [mode, portOf(url)]))
}

/** The port in a server's URL, as in `nfs://127.0.0.1:2049/export`. */
export function portOf(url: string): number {
  const port = /^[a-z][a-z0-9]*:\/\/[^/]*:(\d{1,5})(?=\/|$)/.exec(url)?.[1]
  if (port === undefined) throw new Error(`${url} has no port`)
  return Number(port)
}
