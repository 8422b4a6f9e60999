import { describe, expect, test } from 'vitest'
import { CliError } from '../../../src/cli/exit.ts'
import { Lab, type LabPlan, portOf } from '../../../src/lab/lab.ts'
import type { Exit, ServingProcess, ServingSpec } from '../../../src/serving/serving.ts'

/** Process ids that no process has: signals to them go nowhere. */
const NOBODY = 2 ** 30

const PLAN: LabPlan = {
  mode: 'local',
  hasServer: false,
  data: '/data',
  targets: ['/mnt/a', '/mnt/b'],
  driver: 'kernel',
  options: { ro: true },
  modeOptions: [{ name: 'actimeo', value: '1' }],
}

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
      const targets = spec.role === 'mount' ? spec.targets : []
      const url = spec.role === 'mount' ? spec.url : `${spec.mode}://127.0.0.1:1234/`
      const abilities = { passthrough: true, invalidation: true, nameEpochs: true, locks: true }
      const mounts = targets.map((target) => ({ target, abilities, limitations: [] }))
      const ready =
        problem === undefined
          ? Promise.resolve({ type: 'ready', url, mounts } as const)
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
    const { driver, options, modeOptions, targets } = PLAN
    expect(specs).toEqual([{ role: 'mount', url: 'local:/data', targets, driver, options, modeOptions }])
    expect(lab.processes).toEqual([{ pid: NOBODY, startTime: 0, role: 'mount', targets: ['/mnt/a', '/mnt/b'] }])
    expect(lab.mounts.map(({ target }) => target)).toEqual(['/mnt/a', '/mnt/b'])
    expect(changes).toEqual([1])
  })

  test('starts a server first, then a process for each mount, which connects to its URL', async () => {
    const { lab, specs } = stage()
    await lab.start({ ...PLAN, mode: 'nfs', hasServer: true })
    expect(specs.map(({ role }) => role)).toEqual(['server', 'mount', 'mount'])
    expect(specs[0]).toMatchObject({ data: '/data', host: '127.0.0.1' })
    const { modeOptions } = PLAN
    expect(specs[2]).toMatchObject({ url: 'nfs://127.0.0.1:1234/', targets: ['/mnt/b'], modeOptions })
    expect(lab.url).toBe('nfs://127.0.0.1:1234/')
  })

  test('is closed when its last mount process has ended in peace', async () => {
    const { lab, ends } = stage()
    await lab.start({ ...PLAN, mode: 'nfs', hasServer: true })
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
    await expect(lab.start({ ...PLAN, mode: 'nfs', hasServer: true })).rejects.toThrow('no such device')
  })

  test('survives what crashes on purpose, and starts it again where it was', async () => {
    const { lab, specs, ends, changes } = stage()
    await lab.start({ ...PLAN, mode: 'nfs', hasServer: true })
    for (const [part, index] of [
      ['server', 0],
      [{ mount: '/mnt/b' }, 2],
    ] as const) {
      const crashed = lab.crash(part)
      ends[index]?.({ code: null, signal: 'SIGKILL' })
      await crashed
      await lab.startAgain(part)
    }
    expect(specs[3]).toEqual({ role: 'server', mode: 'nfs', data: '/data', host: '127.0.0.1', port: 1234 })
    expect(specs[4]).toEqual(specs[2])
    expect(lab.processes.map(({ pid }) => pid - NOBODY)).toEqual([1, 3, 4])
    expect(changes.at(-1)).toBe(3)
    expect(lab.targetsOf({ mount: '/mnt/b' })).toEqual(['/mnt/b'])
    // The next death is nobody's purpose.
    ends[3]?.({ code: 1, signal: null })
    expect(await lab.ended).toMatchObject({ process: { role: 'server' } })
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
