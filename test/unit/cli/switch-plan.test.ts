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
const afs = served('afs', ['cache'])

const MOUNTS = ['/m/a', '/m/b']
const mount = (name: string, mode: string) => ({ target: `/m/${name}`, mode })
const process = (role: 'server' | 'mount', ...targets: string[]) => ({ pid: 2, startTime: 0, role, targets })

const LAB = {
  data: '/data',
  mounts: [mount('a', 'local'), mount('b', 'local')],
  protocols: [],
  settings: { driver: 'kernel', options: { allowOther: true }, modeOptions: {} },
  processes: [process('mount', ...MOUNTS)],
} as const
const ACTIMEO = { name: 'actimeo', value: '7' }
const NFS_LAB = {
  ...LAB,
  mounts: [mount('a', 'nfs'), mount('b', 'nfs')],
  protocols: ['nfs'],
  settings: { ...LAB.settings, modeOptions: { nfs: [ACTIMEO, { name: 'hard' }] } },
  processes: [process('server'), process('mount', '/m/a'), process('mount', '/m/b')],
}
/** Mount a is local, in the process of the server. */
const MIXED = {
  ...NFS_LAB,
  mounts: [mount('a', 'local'), mount('b', 'nfs')],
  processes: [process('server', '/m/a'), process('mount', '/m/b')],
}
/** Two modes with a server, and a local mount in its process. */
const THREE_MOUNTS = [...MOUNTS, '/m/c']
const THREE = {
  ...NFS_LAB,
  mounts: [mount('a', 'nfs'), mount('b', 'afs'), mount('c', 'local')],
  protocols: ['nfs', 'afs'],
  settings: { ...LAB.settings, modeOptions: { nfs: [ACTIMEO], afs: [{ name: 'cache', value: '1' }] } },
  processes: [process('server', '/m/c'), process('mount', '/m/a'), process('mount', '/m/b')],
}

describe('planSwitch', () => {
  test('gives all mounts another mode', () => {
    const plan = {
      data: '/data',
      mounts: [mount('a', 'nfs'), mount('b', 'nfs')],
      protocols: ['nfs'],
      driver: 'kernel',
      options: { allowOther: true },
      modeOptions: {},
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
    expect(toSmb).toMatchObject({ plan: { modeOptions: { smb: [{ name: 'hard' }] } }, dropped: ['actimeo=7'] })
    const toLocal = planSwitch(NFS_LAB, { mode: local, directories: [] }, MOUNTS)
    expect(toLocal).toMatchObject({ plan: { protocols: [] }, dropped: ['actimeo=7', 'hard'] })
    expect(toSmb?.plan.modeOptions).toEqual({ smb: [{ name: 'hard' }] })
    expect(toLocal?.plan.modeOptions).toEqual({})
  })

  test('adds the options of -o, also in the same mode', () => {
    const options = { flags: { ro: true }, modeOptions: [{ name: 'actimeo', value: '1' }] }
    expect(planSwitch(NFS_LAB, { mode: nfs, options, directories: [] }, MOUNTS)?.plan).toMatchObject({
      options: { allowOther: true, ro: true },
      modeOptions: { nfs: [ACTIMEO, { name: 'hard' }, { name: 'actimeo', value: '1' }] },
    })
    expect(() => planSwitch(LAB, { mode: local, options, directories: [] }, MOUNTS)).toThrow(/unknown mount option/)
    expect(() => planSwitch(LAB, { mode: smb, options, directories: [] }, MOUNTS)).toThrow(/smb has no mount option/)
  })

  test('leaves out mounts that are gone, and refuses a lab without any', () => {
    expect(planSwitch(LAB, { mode: nfs, directories: [] }, ['/m/b'])?.plan.mounts).toEqual([mount('b', 'nfs')])
    expect(() => planSwitch(LAB, { mode: nfs, directories: [] }, [])).toThrow(/no mount any more/)
    expect(() => planSwitch(LAB, { mode: nfs, directories: ['/m/a'] }, ['/m/b'])).toThrow(/nothing is mounted there/)
  })

  test('leaves some mounts local beside a server, which are made anew if the files change hands', () => {
    const one = planSwitch(LAB, { mode: nfs, directories: ['/m/b'] }, MOUNTS)
    expect(one).toMatchObject({ plan: { protocols: ['nfs'], mounts: MIXED.mounts }, moving: MOUNTS })
    const back = planSwitch(MIXED, { mode: local, directories: ['/m/b'] }, MOUNTS)
    expect(back).toMatchObject({ plan: { protocols: [], mounts: LAB.mounts }, moving: MOUNTS })
    const other = planSwitch(NFS_LAB, { mode: local, directories: ['/m/b'] }, MOUNTS)
    const mounts = [mount('a', 'nfs'), mount('b', 'local')]
    expect(other).toMatchObject({ plan: { protocols: ['nfs'], mounts }, moving: ['/m/b'], dropped: [] })
    expect(planSwitch(MIXED, { mode: local, directories: ['/m/a'] }, MOUNTS)).toBeUndefined()
    expect(planSwitch(MIXED, { mode: nfs, directories: ['/m/b'] }, MOUNTS)).toBeUndefined()
  })

  test('leaves the local mounts of a server where they are if only the others get options', () => {
    const options = { flags: { allowOther: true }, modeOptions: [{ name: 'hard' }] }
    const planned = planSwitch(MIXED, { mode: nfs, options, directories: ['/m/b'] }, MOUNTS)
    expect(planned).toMatchObject({ plan: { mounts: MIXED.mounts }, moving: ['/m/b'] })
  })

  test('gives one mount a second mode with a server, and leaves the others what they are', () => {
    const planned = planSwitch(NFS_LAB, { mode: smb, directories: ['/m/b'] }, MOUNTS)
    expect(planned).toMatchObject({
      plan: { mounts: [mount('a', 'nfs'), mount('b', 'smb')], protocols: ['nfs', 'smb'] },
      moving: ['/m/b'],
      dropped: [],
    })
    expect(planned?.plan.modeOptions).toEqual({ nfs: [ACTIMEO, { name: 'hard' }], smb: [{ name: 'hard' }] })
  })

  test('of three modes each can become each', () => {
    const plan = (mode: Mode, ...directories: string[]) =>
      planSwitch(THREE, { mode, directories }, THREE_MOUNTS) ?? { plan: undefined }
    expect(plan(nfs, '/m/b')).toMatchObject({
      plan: { protocols: ['nfs'] },
      moving: ['/m/b', '/m/c'],
      dropped: ['cache=1'],
    })
    expect(plan(local, '/m/a')).toMatchObject({ plan: { protocols: ['afs'] }, moving: ['/m/a', '/m/c'] })
    expect(plan(afs, '/m/c')).toMatchObject({ plan: { protocols: ['nfs', 'afs'] }, moving: ['/m/c'], dropped: [] })
    expect(plan(smb, '/m/a')).toMatchObject({ plan: { protocols: ['afs', 'smb'] }, moving: ['/m/a', '/m/c'] })
    expect(plan(afs)).toMatchObject({ plan: { protocols: ['afs'] }, moving: ['/m/a', '/m/c'], dropped: ['actimeo=7'] })
    expect(plan(local)).toMatchObject({ plan: { protocols: [], modeOptions: {} }, moving: THREE_MOUNTS })
    expect(plan(nfs, '/m/a')).toEqual({ plan: undefined })
  })

  test('gives options to the mounts of their mode only, and those of mount(8) to all or none', () => {
    const options = { flags: { allowOther: true }, modeOptions: [{ name: 'cache', value: '2' }] }
    const planned = planSwitch(THREE, { mode: afs, options, directories: ['/m/b'] }, THREE_MOUNTS)
    expect(planned).toMatchObject({ plan: { protocols: ['nfs', 'afs'] }, moving: ['/m/b'] })
    const same = { flags: { allowOther: true }, modeOptions: [] }
    expect(planSwitch(THREE, { mode: afs, options: same, directories: ['/m/b'] }, THREE_MOUNTS)).toBeUndefined()
    const readOnly = { mode: afs, options: { flags: { ro: true }, modeOptions: [] }, directories: ['/m/b'] }
    expect(() => planSwitch(THREE, readOnly, THREE_MOUNTS)).toThrow(/would hold for \/m\/a, \/m\/c, too/)
  })

  test('serves no mode that no mount needs any more', () => {
    const planned = planSwitch(THREE, { mode: local, directories: ['/m/a'] }, ['/m/a', '/m/c'])
    expect(planned).toMatchObject({ plan: { protocols: [] }, moving: ['/m/a', '/m/c'] })
  })

  test('starts the server again of mounts that were left without it', () => {
    const left = { ...NFS_LAB, processes: NFS_LAB.processes.slice(1) }
    const planned = planSwitch(left, { mode: nfs, directories: [] }, MOUNTS)
    expect(planned).toMatchObject({ plan: { protocols: ['nfs'], mounts: NFS_LAB.mounts }, moving: [], dropped: [] })
  })

  test('refuses two modes of which neither has a server', () => {
    const sync: Mode = { ...local, name: 'sync' }
    expect(() => planSwitch(LAB, { mode: sync, directories: ['/m/b'] }, MOUNTS)).toThrow(/cannot be in one lab/)
    expect(planSwitch(LAB, { mode: sync, directories: [] }, MOUNTS)).toMatchObject({ moving: MOUNTS })
  })

  test('refuses options that would hold for mounts that were not named', () => {
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
