import { expect, test } from 'vitest'
import {
  besideIn,
  type LabPlan,
  modeOfLab,
  mountSpec,
  optionsOf,
  portsOf,
  serverSpec,
  volumeUrls,
} from '../../../src/lab/lab-plan.ts'

const plan = (modes: Readonly<Record<string, string>>, ...protocols: string[]): LabPlan => ({
  data: '/data',
  mounts: Object.entries(modes).map(([target, mode]) => ({ target, mode })),
  protocols,
  driver: 'kernel',
  options: { ro: true },
  modeOptions: { nfs: [{ name: 'noac' }] },
})
const MIX = plan({ '/m/a': 'nfs', '/m/b': 'local', '/m/c': 'afs' }, 'nfs', 'afs')
const LOCAL = plan({ '/m/a': 'local', '/m/b': 'local' })

test('a lab is called by what its server serves, or by the mode of its mounts', () => {
  expect(modeOfLab(MIX)).toBe('nfs,afs')
  expect(modeOfLab(LOCAL)).toBe('local')
})

test('mounts of a mode without server are beside one if there is one', () => {
  expect(besideIn(MIX)).toEqual(['/m/b'])
  expect(besideIn(LOCAL)).toEqual([])
  expect(serverSpec(MIX, { afs: 7000 })).toEqual({
    role: 'server',
    protocols: [
      { mode: 'nfs', port: 0 },
      { mode: 'afs', port: 7000 },
    ],
    data: '/data',
    host: '127.0.0.1',
    beside: { targets: ['/m/b'], driver: 'kernel', options: { ro: true } },
  })
})

test('a server is told what is said to its mode', () => {
  const life = [{ name: 'promise-life', value: '8' }]
  const { protocols } = serverSpec({ ...MIX, serverOptions: { nfs: [], afs: life } }, {})
  expect(protocols).toEqual([
    { mode: 'nfs', port: 0 },
    { mode: 'afs', port: 0, options: life },
  ])
})

test('a mount connects to the URL of its mode, with the options of its mode', () => {
  const urls = { nfs: 'nfs://127.0.0.1:1/export', afs: 'afs://127.0.0.1:2/root.cell' }
  const common = { role: 'mount', driver: 'kernel', options: { ro: true }, cache: '/data/cache' }
  const noac = [{ name: 'noac' }]
  expect(mountSpec(MIX, ['/m/a'], urls)).toEqual({ ...common, url: urls.nfs, targets: ['/m/a'], modeOptions: noac })
  expect(mountSpec(MIX, ['/m/c'], urls)).toEqual({ ...common, url: urls.afs, targets: ['/m/c'], modeOptions: [] })
  const targets = ['/m/a', '/m/b']
  expect(mountSpec(LOCAL, targets, volumeUrls(LOCAL))).toEqual({
    ...common,
    ...{ url: 'local:/data', targets, modeOptions: [] },
  })
})

test('a name that every object has is no mode', () => {
  expect(optionsOf(LOCAL, 'constructor')).toEqual([])
  expect(mountSpec(plan({ '/m/a': 'constructor' }), ['/m/a'], {}).url).toBe('')
})

test('ports are those of servers', () => {
  expect(portsOf({ nfs: 'nfs://127.0.0.1:2049/export', afs: 'afs://[::1]:7000/root.cell' })).toEqual({
    nfs: 2049,
    afs: 7000,
  })
  expect(portsOf({ local: 'local:/data' })).toEqual({})
})
