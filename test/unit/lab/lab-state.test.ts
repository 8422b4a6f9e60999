import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { LabPlan } from '../../../src/lab/lab-plan.ts'
import {
  claimLab,
  following,
  isRunning,
  type LabState,
  parseLab,
  planOf,
  readLab,
  removeLab,
  takeOver,
  writeLab,
} from '../../../src/lab/lab-state.ts'
import { isAlive, type ProcessId, parseStartTime, processNow } from '../../../src/serving/processes.ts'

let data: string
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'proteus-lab-'))
})
afterEach(() => rmSync(data, { recursive: true }))

const self = processNow(process.pid) as ProcessId
/** This process's id, at a time when another process had it. */
const departed: ProcessId = { pid: self.pid, startTime: self.startTime - 1 }

const lab = (owner: ProcessId, changes: Partial<LabState> = {}): LabState => ({
  version: 2,
  data,
  mounts: [{ target: '/mnt/a', mode: 'nfs' }],
  protocols: ['nfs'],
  settings: { driver: 'kernel', options: { ro: true }, modeOptions: { nfs: [{ name: 'noac' }] } },
  urls: {},
  owner,
  detached: false,
  processes: [],
  ...changes,
})

describe('processes', () => {
  test('are told apart by their start time', () => {
    expect(isAlive(self)).toBe(true)
    expect(isAlive(departed)).toBe(false)
    expect(processNow(2 ** 30)).toBeUndefined()
  })

  test('have a start time whatever their name is, unless they are zombies', () => {
    const fields = Array.from({ length: 18 }, (_, i) => String(i + 4))
    expect(parseStartTime(`7 (a) b) S ${fields.join(' ')} 99`)).toBe(99)
    expect(parseStartTime(`7 (a) Z ${fields.join(' ')} 99`)).toBeUndefined()
    expect(parseStartTime('')).toBeUndefined()
  })
})

describe('lab.json', () => {
  test('is absent, then what was written, then absent', () => {
    expect(readLab(data)).toBeUndefined()
    const state = lab(self, {
      urls: { nfs: 'nfs://127.0.0.1:1/' },
      processes: [{ ...self, role: 'mount', targets: ['/mnt/a'] }],
    })
    writeLab(state)
    expect(readLab(data)).toEqual(state)
    expect(readdirSync(data)).toEqual(['lab.json'])
    removeLab(data, departed)
    expect(readLab(data)).toEqual(state)
    removeLab(data, self)
    removeLab(data, self)
    expect(readLab(data)).toBeUndefined()
    expect(readLab(join(data, 'nowhere'))).toBeUndefined()
  })

  test('is claimed once, and again when everything in it is gone', () => {
    expect(claimLab(lab(self))).toBe(true)
    expect(claimLab(lab(self))).toBe(false)
    writeLab(lab(departed, { processes: [{ ...self, role: 'mount', targets: [] }] }))
    expect(claimLab(lab(self))).toBe(false)
    const gone = lab(departed, { processes: [{ ...departed, role: 'mount', targets: [] }] })
    writeLab(gone)
    expect(isRunning(gone)).toBe(false)
    expect(claimLab(lab(self))).toBe(true)
    expect(readdirSync(data)).toEqual(['lab.json'])
  })

  test('is taken over once, from an owner that is gone', () => {
    const left = lab(departed, { detached: true, processes: [{ ...self, role: 'mount', targets: [] }] })
    writeLab(left)
    expect(takeOver(left, self)).toEqual({ ...left, owner: self })
    expect(readLab(data)).toEqual({ ...left, owner: self })
    expect(takeOver(left, self)).toBeUndefined()
    expect(takeOver(lab(self), self)).toBeUndefined()
    expect(readLab(data)).toEqual({ ...left, owner: self })
    expect(readdirSync(data)).toEqual(['lab.json'])
  })

  test('is refused when it is damaged: nothing is signalled on its word', () => {
    const sound = lab(self)
    const broken: unknown[] = [
      null,
      [],
      { ...sound, version: 1 },
      { ...sound, version: 3 },
      { ...sound, mounts: [1] },
      { ...sound, mounts: ['/mnt/a'] },
      { ...sound, mounts: [{ target: '/mnt/a' }] },
      { ...sound, mounts: [{ target: 'mnt/a', mode: 'nfs' }] },
      { ...sound, mounts: [{ target: '/mnt/a', mode: '__proto__' }] },
      { ...sound, protocols: 'nfs' },
      { ...sound, protocols: [null] },
      { ...sound, urls: undefined },
      { ...sound, urls: [] },
      { ...sound, urls: { nfs: 'afs://127.0.0.1:1/' } },
      { ...sound, settings: undefined },
      { ...sound, settings: { ...sound.settings, modeOptions: { nfs: [{ name: 'actimeo', value: 3 }] } } },
      { ...sound, settings: { ...sound.settings, modeOptions: [{ name: 'actimeo', value: '3' }] } },
      { ...sound, settings: { ...sound.settings, modeOptions: { nfs: { name: 'noac' } } } },
      { ...sound, owner: { pid: -1, startTime: 1 } },
      { ...sound, owner: { pid: 1, startTime: 1 } },
      { ...sound, processes: [{ ...self, role: 'king', targets: [] }] },
      { ...sound, processes: [{ pid: '7', startTime: 1, role: 'mount', targets: [] }] },
    ]
    for (const value of broken) expect(parseLab(JSON.stringify(value)), JSON.stringify(value)).toBeUndefined()
    expect(parseLab('{')).toBeUndefined()
    expect(parseLab(JSON.stringify(sound))).toEqual(sound)
    writeFileSync(join(data, 'lab.json'), '{')
    expect(() => readLab(data)).toThrow(/lab\.json is damaged: remove it/)
  })
})

describe('what a lab follows', () => {
  const mount = (name: string, mode: string) => ({ target: `/mnt/${name}`, mode })
  const process = (role: 'server' | 'mount', ...targets: string[]) => ({ ...self, role, targets })

  test('is the plan, and for mounts that it has not, what was', () => {
    const state = lab(self, { mounts: [mount('a', 'nfs'), mount('b', 'nfs'), mount('c', 'local')] })
    const plan: LabPlan = {
      ...{ data, mounts: [mount('a', 'nfs'), mount('b', 'afs')], protocols: ['nfs', 'afs'] },
      ...{ driver: 'portable', options: {}, modeOptions: {} },
    }
    expect(following(state, plan)).toEqual({
      ...state,
      mounts: [mount('a', 'nfs'), mount('b', 'afs'), mount('c', 'local')],
      protocols: ['nfs', 'afs'],
      settings: { driver: 'portable', options: {}, modeOptions: {} },
    })
  })

  test('is read from what its processes serve', () => {
    const state = lab(self, {
      mounts: [mount('a', 'nfs'), mount('b', 'local'), mount('c', 'local')],
      processes: [process('server', '/mnt/b'), process('mount', '/mnt/a')],
    })
    expect(planOf(state)).toEqual({
      ...{ data, mounts: [mount('a', 'nfs'), mount('b', 'local')], protocols: ['nfs'] },
      ...state.settings,
    })
  })
})
