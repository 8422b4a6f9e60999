import { describe, expect, test } from 'vitest'
import { CliError } from '../../../src/cli/exit.ts'
import { Lab } from '../../../src/lab/lab.ts'
import { type LabPlan, portOf } from '../../../src/lab/lab-plan.ts'
import { type Exit, type ServingProcess, type ServingSpec, targetsOf } from '../../../src/serving/serving.ts'

/** Process ids that no process has: signals to them go nowhere. */
const NOBODY = 2 ** 30

const ACTIMEO = [{ name: 'actimeo', value: '1' }]
const plan = (a: string, b: string, protocols: readonly string[]): LabPlan => ({
  data: '/data',
  mounts: [
    { target: '/mnt/a', mode: a },
    { target: '/mnt/b', mode: b },
  ],
  protocols,
  driver: 'kernel',
  options: { ro: true },
  modeOptions: { nfs: ACTIMEO },
})
const PLAN = plan('local', 'local', [])
const NFS = plan('nfs', 'nfs', ['nfs'])

/** Each protocol has the port that it was told, or one of its own. */
const urlsOf = ({ protocols }: Extract<ServingSpec, { role: 'server' }>): Record<string, string> =>
  Object.fromEntries(protocols.map(({ mode, port }, i) => [mode, `${mode}://127.0.0.1:${port || 1234 + i}/`]))

/** Starts processes that exist in this test only, and ends them at its word. */
function stage(fail: (spec: ServingSpec) => string | undefined = () => undefined) {
  const specs: ServingSpec[] = []
  const ends: ((exit: Exit) => void)[] = []
  const changes: number[] = []
  const lab = new Lab({
    start(spec): ServingProcess {
      const index = specs.push(spec) - 1
      const exited = new Promise<Exit>((resolve) => ends.push(resolve))
      const problem = fail(spec)
      if (problem !== undefined) for (const end of ends) end({ code: 1, signal: null })
      const targets = targetsOf(spec)
      const urls = spec.role === 'mount' ? {} : urlsOf(spec)
      const abilities = { passthrough: true, invalidation: true, nameEpochs: true, locks: true }
      const mounts = targets.map((target) => ({ target, abilities, limitations: [] }))
      const ready =
        problem === undefined
          ? Promise.resolve({ type: 'ready', urls, mounts } as const)
          : Promise.reject(new CliError(problem))
      return { id: { pid: NOBODY + index, startTime: 0 }, spec, ready, exited, release: () => undefined }
    },
    onChange: ({ processes }) => changes.push(processes.length),
  })
  return { lab, specs, ends, changes }
}

describe('Lab', () => {
  test('serves all mounts of a mode without server from one process', async () => {
    const { lab, specs, changes } = stage()
    await lab.start(PLAN)
    const { driver, options } = PLAN
    const targets = ['/mnt/a', '/mnt/b']
    const cache = '/data/cache'
    expect(specs).toEqual([{ role: 'mount', url: 'local:/data', targets, driver, options, modeOptions: [], cache }])
    expect(lab.urls).toEqual({ local: 'local:/data' })
    expect(lab.processes).toEqual([{ pid: NOBODY, startTime: 0, role: 'mount', targets: ['/mnt/a', '/mnt/b'] }])
    expect(lab.mounts.map(({ target }) => target)).toEqual(['/mnt/a', '/mnt/b'])
    expect(changes).toEqual([1])
  })

  test('starts a server first, then a process for each mount, which connects to its URL', async () => {
    const { lab, specs } = stage()
    await lab.start(NFS)
    expect(specs.map(({ role }) => role)).toEqual(['server', 'mount', 'mount'])
    expect(specs[0]).toMatchObject({ data: '/data', host: '127.0.0.1' })
    expect(specs[2]).toMatchObject({ url: 'nfs://127.0.0.1:1234/', targets: ['/mnt/b'], modeOptions: ACTIMEO })
    expect(lab.urls).toEqual({ nfs: 'nfs://127.0.0.1:1234/' })
  })

  test('has one server for all modes; each mount connects to the URL of its own, with the options of its own', async () => {
    const { lab, specs } = stage()
    await lab.start(plan('nfs', 'afs', ['nfs', 'afs']))
    expect(specs[0]).toEqual({
      role: 'server',
      protocols: [
        { mode: 'nfs', port: 0 },
        { mode: 'afs', port: 0 },
      ],
      data: '/data',
      host: '127.0.0.1',
    })
    expect(specs.slice(1)).toMatchObject([
      { url: 'nfs://127.0.0.1:1234/', targets: ['/mnt/a'], modeOptions: ACTIMEO },
      { url: 'afs://127.0.0.1:1235/', targets: ['/mnt/b'], modeOptions: [] },
    ])
  })

  test('has local mounts in the process of the server, and finds it by their names', async () => {
    const { lab, specs } = stage()
    await lab.start(plan('local', 'nfs', ['nfs']))
    const { driver, options } = PLAN
    expect(specs[0]).toMatchObject({ role: 'server', beside: { targets: ['/mnt/a'], driver, options } })
    expect(specs.length).toBe(2)
    expect(lab.targetsOf({ mount: '/mnt/a' })).toEqual(['/mnt/a'])
    expect(lab.mounts.map(({ target }) => target)).toEqual(['/mnt/a', '/mnt/b'])
  })

  test('is closed when its last mount process has ended in peace', async () => {
    const { lab, ends } = stage()
    await lab.start(NFS)
    let over = false
    void lab.ended.then(() => {
      over = true
    })
    ends[1]?.({ code: 0, signal: null })
    await new Promise(setImmediate)
    expect(over).toBe(false)
    ends[2]?.({ code: 0, signal: null })
    expect(await lab.ended).toBe('closed')
  })

  test('says which process died', async () => {
    const { lab, ends } = stage()
    await lab.start(PLAN)
    ends[0]?.({ code: null, signal: 'SIGKILL' })
    expect(await lab.ended).toMatchObject({ process: { pid: NOBODY, role: 'mount' }, exit: { signal: 'SIGKILL' } })
  })

  test('does not start when one of its processes does not', async () => {
    const { lab } = stage((spec) => (spec.role === 'mount' ? 'no such device' : undefined))
    await expect(lab.start(NFS)).rejects.toThrow('no such device')
  })

  test('survives what crashes on purpose, and starts it again where it was', async () => {
    const { lab, specs, ends, changes } = stage()
    await lab.start(NFS)
    for (const [part, index] of [
      ['server', 0],
      [{ mount: '/mnt/b' }, 2],
    ] as const) {
      const crashed = lab.crash(part)
      ends[index]?.({ code: null, signal: 'SIGKILL' })
      await crashed
      await lab.startAgain(part)
    }
    const protocols = [{ mode: 'nfs', port: 1234 }]
    expect(specs[3]).toEqual({ role: 'server', protocols, data: '/data', host: '127.0.0.1' })
    expect(specs[4]).toEqual(specs[2])
    expect(lab.processes.map(({ pid }) => pid - NOBODY)).toEqual([1, 3, 4])
    expect(changes.at(-1)).toBe(3)
    expect(lab.targetsOf({ mount: '/mnt/b' })).toEqual(['/mnt/b'])
    // The next death is nobody's purpose.
    ends[3]?.({ code: 1, signal: null })
    expect(await lab.ended).toMatchObject({ process: { role: 'server' } })
  })

  test('has more servers, which end with it and are not what crashes', async () => {
    const { lab, specs, ends } = stage()
    await lab.start(NFS)
    const more = { role: 'server', data: '/more', host: '127.0.0.1', protocols: [{ mode: 'nfs', port: 0 }] } as const
    expect(await lab.serve(more)).toEqual(lab.urls)
    expect(lab.processes.map(({ role }) => role)).toEqual(['server', 'mount', 'mount', 'server'])
    for (const index of [0, 4]) {
      const crashed = lab.crash('server')
      ends[index]?.({ code: null, signal: 'SIGKILL' })
      await crashed
      await lab.startAgain('server')
    }
    expect(specs.slice(3).map((spec) => spec.role === 'server' && spec.data)).toEqual(['/more', '/data', '/data'])
  })

  test('starts a server of several modes again on all of their ports', async () => {
    const { lab, specs, ends } = stage()
    await lab.start(plan('nfs', 'afs', ['nfs', 'afs']))
    const crashed = lab.crash('server')
    ends[0]?.({ code: null, signal: 'SIGKILL' })
    await crashed
    await lab.startAgain('server')
    expect(specs.at(-1)).toMatchObject({
      protocols: [
        { mode: 'nfs', port: 1234 },
        { mode: 'afs', port: 1235 },
      ],
    })
  })

  test('a mode without server has one process behind every mount', async () => {
    const { lab } = stage()
    await lab.start(PLAN)
    expect(lab.targetsOf({ mount: '/mnt/b' })).toEqual(['/mnt/a', '/mnt/b'])
    expect(() => lab.targetsOf('server')).toThrow(/no process of this lab/)
    await expect(lab.startAgain({ mount: '/mnt/a' })).rejects.toThrow(/only what has crashed/)
  })

  test('reads the port of a server from its URL', () => {
    expect(portOf('nfs://127.0.0.1:2049/export')).toBe(2049)
    expect(portOf('afs://[::1]:7000')).toBe(7000)
    expect(() => portOf('local:/data')).toThrow(/no port/)
  })
})
