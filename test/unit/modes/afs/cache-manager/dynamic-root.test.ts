// The root that shows all cells: two names for each, and those that the DNS knows once they are asked for.
import { expect, test } from 'vitest'
import { inoOf } from '../../../../../src/modes/afs/cache-manager/attributes.ts'
import { CellDatabase } from '../../../../../src/modes/afs/cache-manager/cell-database.ts'
import type { ClientVolume } from '../../../../../src/modes/afs/cache-manager/cells.ts'
import { DynamicRoot } from '../../../../../src/modes/afs/cache-manager/dynamic-root.ts'
import type { FileServer } from '../../../../../src/modes/afs/cache-manager/file-server.ts'
import type { CacheManager } from '../../../../../src/modes/afs/cache-manager/manager.ts'
import type { Vnode } from '../../../../../src/modes/afs/cache-manager/vnodes.ts'
import type { Known } from '../../../../../src/modes/afs/records.ts'

function world(known: readonly string[]) {
  const learned = new Map<number, { volume: ClientVolume; known: Known }>()
  const cm = {
    learn(volume: ClientVolume, answer: Known) {
      learned.set(answer.fid.vnode, { volume, known: answer })
      return { volume, fid: answer.fid, status: answer.status, names: undefined } as unknown as Vnode
    },
  } as unknown as CacheManager
  const asked: string[] = []
  const database = new CellDatabase({
    dns: true,
    resolve: async (name) => {
      asked.push(name)
      if (known.includes(name)) return [{ name: 'db', port: 7000, priority: 0 }]
      throw Object.assign(new Error('no'), { code: 'ENOTFOUND' })
    },
  })
  const root = new DynamicRoot(cm, {} as FileServer, database)
  const names = () => [...(root.vnode.names?.entries ?? [])]
  const targetOf = (name: string) => learned.get(root.vnode.names?.entries.get(name)?.vnode ?? 0)?.known.status.target
  return { root, names, targetOf, asked, learned }
}

test('a cell has a name for its replicas and one for what may be changed', () => {
  const { root, names, targetOf, learned } = world([])
  root.show('one.example')
  root.show('two.example')
  root.show('one.example')
  expect(names().map(([name]) => name)).toEqual(['one.example', '.one.example', 'two.example', '.two.example'])
  expect(targetOf('one.example')).toBe('#one.example:root.cell')
  expect(targetOf('.two.example')).toBe('%two.example:root.cell')
  // Of a cell of its own: no number is that of a file of another cell.
  const [{ volume } = { volume: undefined }] = learned.values()
  expect(volume).toMatchObject({ type: 'RO', cell: { index: 15 } })
  const numbers = names().map(([, { vnode }]) => inoOf(volume as ClientVolume, vnode))
  expect(new Set(numbers).size).toBe(4)
  for (const number of numbers) expect(Number.isSafeInteger(number)).toBe(true)
})

test('a name that is not there may be a cell that the DNS knows', async () => {
  const { root, names, asked } = world(['_afs3-vlserver._udp.example.org'])
  expect(await root.look('.example.org')).toBe(true)
  expect(names().map(([name]) => name)).toEqual(['example.org', '.example.org'])
  expect(await root.look('nothing.example')).toBe(false)
  expect(await root.look('nodot')).toBe(false)
  expect(names().length).toBe(2)
  expect(asked).toEqual(['_afs3-vlserver._udp.example.org', '_afs3-vlserver._udp.nothing.example'])
})

test('nothing takes any room in it', () => {
  expect(world([]).root.stats()).toMatchObject({ blocks: 0, files: 0 })
})
