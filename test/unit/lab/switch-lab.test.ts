import { describe, expect, test } from 'vitest'
import { CliError } from '../../../src/cli/exit.ts'
import { Lab } from '../../../src/lab/lab.ts'
import type { LabPlan } from '../../../src/lab/lab-plan.ts'
import { movingIn, type SwitchOptions, switchLab } from '../../../src/lab/switch-lab.ts'
import { type Exit, type ServingProcess, type ServingSpec, targetsOf } from '../../../src/serving/serving.ts'

/** Process ids that no process has: signals to them go nowhere, and all of them have ended. */
const NOBODY = 2 ** 30

const plan = (a: string, b: string, ...protocols: string[]): LabPlan => ({
  data: '/data',
  mounts: [
    { target: '/m/a', mode: a },
    { target: '/m/b', mode: b },
  ],
  protocols,
  driver: 'kernel',
  options: {},
  modeOptions: {},
})
const LOCAL = plan('local', 'local')
const NFS = plan('nfs', 'nfs', 'nfs')
const MIXED = plan('local', 'nfs', 'nfs')
const BOTH = plan('nfs', 'afs', 'nfs', 'afs')
const NOAC = { nfs: [{ name: 'noac' }] }

/** Each mode has a port of its own. */
const PORTS: Readonly<Record<string, number>> = { nfs: 1234, afs: 5678 }
const urlsOf = ({ protocols }: Extract<ServingSpec, { role: 'server' }>): Record<string, string> =>
  Object.fromEntries(protocols.map(({ mode }) => [mode, `${mode}://127.0.0.1:${PORTS[mode]}/`]))

/** A lab whose processes exist in this test only; `events` is what was done to it. */
async function stage(before: LabPlan, fails: (spec: ServingSpec) => boolean = () => false) {
  const events: string[] = []
  const ends: ((exit: Exit) => void)[] = []
  let next = NOBODY
  let settled = false
  const name = (spec: ServingSpec): string =>
    spec.role === 'server'
      ? ['server', ...spec.protocols.flatMap(({ mode, port }) => [mode, port])].join(' ')
      : `mount ${spec.url.split(':')[0]}`
  const lab = new Lab({
    start(spec): ServingProcess {
      events.push([name(spec), ...targetsOf(spec)].join(' '))
      const urls = spec.role === 'mount' ? {} : urlsOf(spec)
      const ready =
        settled && fails(spec)
          ? Promise.reject(new CliError(`no ${name(spec)}`))
          : Promise.resolve({ type: 'ready', urls, mounts: [] } as const)
      ready.catch(() => undefined)
      return {
        id: { pid: next++, startTime: 0 },
        spec,
        ready,
        exited: new Promise((resolve) => ends.push(resolve)),
        release: () => undefined,
      }
    },
    onChange: () => undefined,
  })
  await lab.start(before)
  settled = true
  events.length = 0
  const plans: LabPlan[] = []
  return {
    lab,
    events,
    ends,
    plans,
    /** Switches; mounts in `busy` are in use. */
    async switchTo(plan: LabPlan, { busy = [], ...options }: Partial<SwitchOptions> & { busy?: string[] } = {}) {
      const unmount = async (target: string): Promise<void> => {
        if (busy.includes(target)) throw new CliError(`${target} is in use`)
        events.push(`unmount ${target}`)
      }
      const prepare = async (target: string): Promise<readonly string[]> => {
        events.push(`prepare ${target}`)
        return target === '/m/b' ? ['late'] : []
      }
      const switching = { lab, before, plan, prepare, use: (used: LabPlan) => void plans.push(used) }
      await lab.whileSwitching(() => switchLab(switching, { force: false, unmount, ...options }))
    },
  }
}

describe('switchLab', () => {
  test('takes the mounts away, then starts the new mode', async () => {
    const { lab, events, plans, switchTo } = await stage(LOCAL)
    const hidden: unknown[] = []
    await switchTo(NFS, { onHidden: (...args) => void hidden.push(args) })
    expect(hidden).toEqual([['/m/b', ['late']]])
    expect(events).toEqual([
      'unmount /m/a',
      'unmount /m/b',
      'prepare /m/a',
      'prepare /m/b',
      'server nfs 0',
      'mount nfs /m/a',
      'mount nfs /m/b',
    ])
    expect(plans).toEqual([NFS])
    expect(lab.urls).toEqual({ nfs: 'nfs://127.0.0.1:1234/' })
    expect(lab.processes.map(({ targets }) => targets)).toEqual([[], ['/m/a'], ['/m/b']])
  })

  test('by force asks nobody', async () => {
    const { events, switchTo } = await stage(NFS)
    await switchTo(LOCAL, { force: true, busy: ['/m/a'] })
    expect(events).toEqual(['prepare /m/a', 'prepare /m/b', 'mount local /m/a /m/b'])
  })

  test('leaves the server and the mounts in it alone if they stay what they are', async () => {
    const { events, switchTo } = await stage(MIXED)
    await switchTo({ ...MIXED, modeOptions: NOAC })
    expect(events).toEqual(['unmount /m/b', 'prepare /m/b', 'mount nfs /m/b'])
  })

  test('starts a server of the same mode where it was', async () => {
    const { events, switchTo } = await stage(MIXED)
    await switchTo(plan('nfs', 'local', 'nfs'))
    expect(events.slice(2)).toEqual(['prepare /m/a', 'prepare /m/b', 'server nfs 1234 /m/b', 'mount nfs /m/a'])
  })

  test('restarts the server with a second mode on the port of the first, whose mounts go on', async () => {
    const { lab, events, switchTo } = await stage(NFS)
    const [, a] = lab.processes
    await switchTo(BOTH)
    expect(events).toEqual(['unmount /m/b', 'prepare /m/b', 'server nfs 1234 afs 0', 'mount afs /m/b'])
    expect(lab.processes).toContainEqual(a)
    expect(lab.urls).toEqual({ nfs: 'nfs://127.0.0.1:1234/', afs: 'afs://127.0.0.1:5678/' })
  })

  test('ends a mode that nobody needs, on the port of the other', async () => {
    const toAfs = await stage(BOTH)
    await toAfs.switchTo(plan('afs', 'afs', 'afs'))
    expect(toAfs.events).toEqual(['unmount /m/a', 'prepare /m/a', 'server afs 5678', 'mount afs /m/a'])
    const toLocal = await stage(BOTH)
    await toLocal.switchTo(plan('nfs', 'local', 'nfs'))
    expect(toLocal.events).toEqual(['unmount /m/b', 'prepare /m/b', 'server nfs 1234 /m/b'])
  })

  test('leaves the server and the mounts of other modes alone if one gets options', async () => {
    const { events, switchTo } = await stage(BOTH)
    await switchTo({ ...BOTH, modeOptions: NOAC })
    expect(events).toEqual(['unmount /m/a', 'prepare /m/a', 'mount nfs /m/a'])
  })

  test('a server that is missing is started where it was', async () => {
    const { lab, events, switchTo } = await stage(BOTH)
    await lab.end(({ role }) => role === 'server', { graceMs: 0 })
    await switchTo(BOTH)
    expect(events).toEqual(['server nfs 1234 afs 5678'])
  })

  test('two modes change places, and the server stays', async () => {
    const { events, switchTo } = await stage(BOTH)
    await switchTo(plan('afs', 'nfs', 'afs', 'nfs'))
    expect(events.filter((event) => event.startsWith('server'))).toEqual([])
    expect(events.slice(-2)).toEqual(['mount afs /m/a', 'mount nfs /m/b'])
  })

  test('goes back to one mode if the second does not start; the mounts of the first have only waited', async () => {
    const { lab, events, plans, switchTo } = await stage(NFS, (spec) => /afs/.test(JSON.stringify(spec)))
    const [, a] = lab.processes
    await expect(switchTo(BOTH)).rejects.toThrow('no server nfs 1234 afs 0')
    expect(events.slice(-4)).toEqual(['server nfs 1234 afs 0', 'prepare /m/b', 'server nfs 1234', 'mount nfs /m/b'])
    expect(lab.processes).toContainEqual(a)
    expect(plans.at(-1)).toEqual(NFS)
  })

  test('goes back from one mode to two on both of their ports', async () => {
    const { events, switchTo } = await stage(BOTH, (spec) => spec.role === 'mount' && /^nfs/.test(spec.url))
    await expect(switchTo(NFS)).rejects.toThrow('no mount nfs')
    expect(events.slice(-2)).toEqual(['server nfs 1234 afs 5678', 'mount afs /m/b'])
  })

  test('changes nothing if the first mount is in use', async () => {
    const { lab, events, switchTo } = await stage(LOCAL)
    const [process] = lab.processes
    await expect(switchTo(NFS, { busy: ['/m/a'] })).rejects.toThrow('/m/a is in use')
    expect(events).toEqual([])
    expect(lab.processes).toEqual([process])
  })

  test('brings back what was taken away before one was found in use', async () => {
    const nfs = await stage(NFS)
    await expect(nfs.switchTo(LOCAL, { busy: ['/m/b'] })).rejects.toThrow('/m/b is in use')
    expect(nfs.events).toEqual(['unmount /m/a', 'prepare /m/a', 'mount nfs /m/a'])
    const local = await stage(LOCAL)
    await expect(local.switchTo(NFS, { busy: ['/m/b'] })).rejects.toThrow('/m/b is in use')
    expect(local.events).toEqual(['unmount /m/a', 'prepare /m/a', 'prepare /m/b', 'mount local /m/a /m/b'])
  })

  test('goes back to the mode before, on the same port, if the new one does not start', async () => {
    const { lab, events, plans, switchTo } = await stage(
      NFS,
      (spec) => spec.role === 'mount' && /^local/.test(spec.url),
    )
    await expect(switchTo(LOCAL)).rejects.toThrow('no mount local')
    expect(events.slice(-5)).toEqual([
      'prepare /m/a',
      'prepare /m/b',
      'server nfs 1234',
      'mount nfs /m/a',
      'mount nfs /m/b',
    ])
    expect(plans.at(-1)).toEqual(NFS)
    expect(lab.processes.map(({ targets }) => targets)).toEqual([[], ['/m/a'], ['/m/b']])
  })

  test('goes back on another port if the old one is taken', async () => {
    const { events, switchTo } = await stage(
      NFS,
      (spec) =>
        (spec.role === 'mount' && /^local/.test(spec.url)) ||
        (spec.role === 'server' && spec.protocols[0]?.port === 1234),
    )
    await expect(switchTo(LOCAL)).rejects.toThrow('no mount local')
    expect(events.slice(-3)).toEqual(['server nfs 0', 'mount nfs /m/a', 'mount nfs /m/b'])
  })

  test('is lost if neither mode starts', async () => {
    const { lab, switchTo } = await stage(NFS, () => true)
    await expect(switchTo(LOCAL)).rejects.toThrow(/^no mount local; mode nfs could not be started again .* is over$/)
    expect(await lab.ended).toBe('lost')
    expect(lab.processes).toEqual([])
  })

  test('goes back when it is interrupted between two starts', async () => {
    const stopping = new AbortController()
    const { events, switchTo } = await stage(LOCAL, (spec) => {
      if (spec.role === 'server') stopping.abort()
      return false
    })
    await expect(switchTo(NFS, { signal: stopping.signal })).rejects.toThrow('interrupted: the mounts are local')
    expect(events.slice(2)).toEqual([
      'prepare /m/a',
      'prepare /m/b',
      'server nfs 0',
      'prepare /m/a',
      'prepare /m/b',
      'mount local /m/a /m/b',
    ])
  })

  test('a process that stays and dies meanwhile is found dead afterwards', async () => {
    const { lab, ends, switchTo } = await stage(NFS)
    const unmount = async (): Promise<void> => {
      // The server, and a mount that goes, which may end as it likes.
      for (const end of ends) end({ code: null, signal: 'SIGKILL' })
    }
    await switchTo({ ...NFS, modeOptions: NOAC }, { unmount })
    expect(await lab.ended).toMatchObject({ process: { role: 'server' }, exit: { signal: 'SIGKILL' } })
  })

  test('a new process that ends before it is ready is no death of the lab', async () => {
    const { lab, ends, switchTo } = await stage(LOCAL, (spec) => {
      if (spec.role === 'server') queueMicrotask(() => ends.at(-1)?.({ code: 1, signal: null }))
      return spec.role === 'server'
    })
    await expect(switchTo(NFS)).rejects.toThrow('no server nfs 0')
    const over = await Promise.race([lab.ended, new Promise((resolve) => setImmediate(() => resolve('goes on')))])
    expect(over).toBe('goes on')
  })

  test('goes nowhere when the lab is stopped', async () => {
    const { lab, events, switchTo } = await stage(LOCAL, (spec) => {
      if (spec.role === 'server') void lab.stop()
      return spec.role === 'server'
    })
    await expect(switchTo(NFS)).rejects.toThrow('no server nfs 0')
    expect(events.at(-1)).toBe('server nfs 0')
  })
})

describe('movingIn', () => {
  const all = ['/m/a', '/m/b']
  const readOnly = { options: { ro: true } }

  test('local mounts move with the process that has the files', () => {
    expect(movingIn(LOCAL, NFS)).toEqual({ restarts: true, targets: all })
    expect(movingIn(LOCAL, MIXED)).toEqual({ restarts: true, targets: all })
    expect(movingIn(MIXED, LOCAL)).toEqual({ restarts: true, targets: all })
    expect(movingIn(MIXED, { ...MIXED, ...readOnly })).toEqual({ restarts: true, targets: all })
    expect(movingIn(MIXED, plan('local', 'afs', 'afs'))).toEqual({ restarts: true, targets: all })
  })

  test('mounts of a mode with a server outlive its restart', () => {
    expect(movingIn(NFS, MIXED)).toEqual({ restarts: true, targets: ['/m/a'] })
    expect(movingIn(MIXED, NFS)).toEqual({ restarts: true, targets: ['/m/a'] })
    expect(movingIn(NFS, BOTH)).toEqual({ restarts: true, targets: ['/m/b'] })
    expect(movingIn(BOTH, NFS)).toEqual({ restarts: true, targets: ['/m/b'] })
  })

  test('other options make mounts anew, not the server', () => {
    expect(movingIn(MIXED, MIXED)).toEqual({ restarts: false, targets: [] })
    expect(movingIn(MIXED, { ...MIXED, modeOptions: NOAC })).toEqual({ restarts: false, targets: ['/m/b'] })
    expect(movingIn(NFS, { ...NFS, ...readOnly })).toEqual({ restarts: false, targets: all })
    expect(movingIn(BOTH, { ...BOTH, ...readOnly })).toEqual({ restarts: false, targets: all })
    expect(movingIn(LOCAL, { ...LOCAL, ...readOnly })).toEqual({ restarts: false, targets: all })
  })
})
