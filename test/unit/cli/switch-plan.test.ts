import { describe, expect, test } from 'vitest'
import { planSwitch } from '../../../src/cli/support/switch-plan.ts'
import { type Mode, type ModeOption, ModeOptionError } from '../../../src/modes/mode.ts'

const unused = async (): Promise<never> => {
  throw new Error('not here')
}

/** A mode with a server that knows some options. */
function served(name: string, known: readonly string[]): Mode {
  const checkOptions = (options: readonly ModeOption[]): void => {
    const wrong = options.find((option) => !known.includes(option.name))
    if (wrong !== undefined) throw new ModeOptionError(`mode ${name} has no mount option ${wrong.name}`)
  }
  return { name, summary: '', connect: unused, serve: unused, checkOptions }
}

const local: Mode = { name: 'local', summary: '', connect: unused }
const nfs = served('nfs', ['actimeo', 'hard'])
const smb = served('smb', ['hard'])

const MOUNTS = ['/m/a', '/m/b']
const LAB = {
  mode: 'local',
  data: '/data',
  mounts: MOUNTS,
  settings: { driver: 'kernel', options: { allowOther: true }, modeOptions: [] },
  processes: [],
} as const
const NFS_LAB = {
  ...LAB,
  mode: 'nfs',
  settings: { ...LAB.settings, modeOptions: [{ name: 'actimeo', value: '7' }, { name: 'hard' }] },
}
/** Mount a is local, in the process of the server. */
const MIXED = { ...NFS_LAB, processes: [{ pid: 2, startTime: 0, role: 'server', targets: ['/m/a'] }] } as const

describe('planSwitch', () => {
  test('gives all mounts another mode', () => {
    const plan = {
      mode: 'nfs',
      hasServer: true,
      data: '/data',
      targets: MOUNTS,
      driver: 'kernel',
      options: { allowOther: true },
      modeOptions: [],
      localTargets: [],
    }
    const planned = { plan, moving: MOUNTS, dropped: [] }
    expect(planSwitch(LAB, { mode: nfs, directories: [] }, MOUNTS)).toEqual(planned)
    expect(planSwitch(LAB, { mode: nfs, directories: ['/m/b', '/m/a'] }, MOUNTS)).toEqual(planned)
  })

  test('leaves alone what is as it should be', () => {
    expect(planSwitch(LAB, { mode: local, directories: [] }, MOUNTS)).toBeUndefined()
    expect(planSwitch(LAB, { mode: local, directories: ['/m/b'] }, MOUNTS)).toBeUndefined()
  })

  test('keeps the options that the new mode knows, and names those that go', () => {
    const toSmb = planSwitch(NFS_LAB, { mode: smb, directories: [] }, MOUNTS)
    expect(toSmb).toMatchObject({ plan: { modeOptions: [{ name: 'hard' }] }, dropped: ['actimeo=7'] })
    const toLocal = planSwitch(NFS_LAB, { mode: local, directories: [] }, MOUNTS)
    expect(toLocal).toMatchObject({ plan: { modeOptions: [], hasServer: false }, dropped: ['actimeo=7', 'hard'] })
  })

  test('adds the options of -o, also in the same mode', () => {
    const options = { flags: { ro: true }, modeOptions: [{ name: 'actimeo', value: '1' }] }
    expect(planSwitch(NFS_LAB, { mode: nfs, options, directories: [] }, MOUNTS)?.plan).toMatchObject({
      options: { allowOther: true, ro: true },
      modeOptions: [{ name: 'actimeo', value: '7' }, { name: 'hard' }, { name: 'actimeo', value: '1' }],
    })
    expect(() => planSwitch(LAB, { mode: local, options, directories: [] }, MOUNTS)).toThrow(/unknown mount option/)
    expect(() => planSwitch(LAB, { mode: smb, options, directories: [] }, MOUNTS)).toThrow(/smb has no mount option/)
  })

  test('leaves out mounts that are gone, and refuses a lab without any', () => {
    expect(planSwitch(LAB, { mode: nfs, directories: [] }, ['/m/b'])?.plan.targets).toEqual(['/m/b'])
    expect(() => planSwitch(LAB, { mode: nfs, directories: [] }, [])).toThrow(/no mount any more/)
    expect(() => planSwitch(LAB, { mode: nfs, directories: ['/m/a'] }, ['/m/b'])).toThrow(/nothing is mounted there/)
  })

  test('leaves some mounts local beside a server, and makes all anew if the files change hands', () => {
    const one = planSwitch(LAB, { mode: nfs, directories: ['/m/b'] }, MOUNTS)
    expect(one).toMatchObject({ plan: { mode: 'nfs', targets: MOUNTS, localTargets: ['/m/a'] }, moving: MOUNTS })
    const back = planSwitch(MIXED, { mode: local, directories: ['/m/b'] }, MOUNTS)
    expect(back).toMatchObject({ plan: { mode: 'local', hasServer: false, localTargets: [] }, moving: MOUNTS })
    const other = planSwitch(NFS_LAB, { mode: local, directories: ['/m/b'] }, MOUNTS)
    expect(other).toMatchObject({ plan: { mode: 'nfs', hasServer: true, localTargets: ['/m/b'] }, dropped: [] })
    expect(planSwitch(MIXED, { mode: local, directories: ['/m/a'] }, MOUNTS)).toBeUndefined()
    expect(planSwitch(MIXED, { mode: nfs, directories: ['/m/b'] }, MOUNTS)).toBeUndefined()
  })

  test('leaves the local mounts of a server where they are if only the others get options', () => {
    const options = { flags: { allowOther: true }, modeOptions: [{ name: 'hard' }] }
    const planned = planSwitch(MIXED, { mode: nfs, options, directories: ['/m/b'] }, MOUNTS)
    expect(planned).toMatchObject({ plan: { localTargets: ['/m/a'] }, moving: ['/m/b'] })
  })

  test('refuses two servers, and options that would hold for mounts that were not named', () => {
    expect(() => planSwitch(NFS_LAB, { mode: smb, directories: ['/m/b'] }, MOUNTS)).toThrow(/a lab has one server/)
    const readOnly = { flags: { ro: true }, modeOptions: [] }
    const hard = { flags: {}, modeOptions: [{ name: 'hard' }] }
    for (const [lab, options] of [
      [LAB, readOnly],
      [NFS_LAB, hard],
    ] as const) {
      const wish = { mode: nfs, options, directories: ['/m/b'] }
      expect(() => planSwitch(lab, wish, MOUNTS)).toThrow(/would hold for \/m\/a, too/)
    }
    expect(planSwitch(LAB, { mode: nfs, options: hard, directories: ['/m/b'] }, MOUNTS)).toBeDefined()
  })

  test('refuses directories of others', () => {
    expect(() => planSwitch(LAB, { mode: nfs, directories: ['/m/c'] }, MOUNTS)).toThrow(/\/m\/c is not a mount/)
  })
})
