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
} as const
const NFS_LAB = {
  ...LAB,
  mode: 'nfs',
  settings: { ...LAB.settings, modeOptions: [{ name: 'actimeo', value: '7' }, { name: 'hard' }] },
}

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
    }
    expect(planSwitch(LAB, { mode: nfs, directories: [] }, MOUNTS)).toEqual({ plan, dropped: [] })
    expect(planSwitch(LAB, { mode: nfs, directories: ['/m/b', '/m/a'] }, MOUNTS)).toEqual({ plan, dropped: [] })
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
  })

  test('refuses directories of others', () => {
    expect(() => planSwitch(LAB, { mode: nfs, directories: ['/m/c'] }, MOUNTS)).toThrow(/\/m\/c is not a mount/)
  })
})
