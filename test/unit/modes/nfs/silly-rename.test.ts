import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatSillyName, parseSillyName, SillyRenames, type Victim } from '../../../../src/modes/nfs/silly-rename.ts'

const victim = (more: Partial<Victim> = {}): Victim => ({
  parent: 1,
  name: 'a',
  node: 7,
  fileId: 0x1234n,
  isDirectory: false,
  opens: 1,
  ...more,
})

describe('names', () => {
  test('are as other clients write them', () => {
    expect(formatSillyName({ fileId: 0x1234n, counter: 5 })).toBe('.nfs000000000000123400000005')
    expect(parseSillyName('.nfs000000000000123400000005')).toEqual({ fileId: 0x1234n, counter: 5 })
    for (const other of [
      '.nfs',
      '.nfs0000000000001234',
      '.nfs00000000000012340000000G',
      'x.nfs000000000000123400000005',
    ]) {
      expect(parseSillyName(other)).toBeUndefined()
    }
  })

  test('tell file id and counter, whatever they are', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(2 ** 32 - 1), (fileId, counter) => {
        expect(parseSillyName(formatSillyName({ fileId, counter }))).toEqual({ fileId, counter })
      }),
    )
  })
})

describe('a file that is removed', () => {
  test('and that nobody has open is removed', () => {
    const silly = new SillyRenames()
    expect(silly.decide(victim({ opens: 0 }))).toEqual({ type: 'remove' })
    expect(silly.decide(victim({ isDirectory: true }))).toEqual({ type: 'remove' })
  })

  test('while it is open is renamed, each time to another name, and removed at the last close', () => {
    const silly = new SillyRenames()
    expect(silly.decide(victim())).toEqual({ type: 'rename', name: '.nfs000000000000123400000001' })
    // The server had that name already.
    const name = '.nfs000000000000123400000002'
    expect(silly.decide(victim())).toEqual({ type: 'rename', name })
    silly.renamed(victim(), name)
    const file = { parent: 1, name, node: 7, was: 'a' }
    expect(silly.all()).toEqual([file])
    expect(silly.ofNode(7)).toEqual(file)
    expect(silly.lastClosed(7)).toEqual(file)
    expect(silly.lastClosed(7)).toBeUndefined()
    expect(silly.all()).toEqual([])
  })

  test('by its silly name is busy while it is open', () => {
    const silly = new SillyRenames({ counter: 8 })
    const name = '.nfs000000000000123400000009'
    expect(silly.decide(victim())).toEqual({ type: 'rename', name })
    silly.renamed(victim(), name)
    expect(silly.decide(victim({ name }))).toEqual({ type: 'busy' })
    // The same name in another directory leads elsewhere; other names of the file may go.
    expect(silly.decide(victim({ name, node: 8, fileId: 8n })).type).toBe('rename')
    expect(silly.decide(victim({ name: 'link' }))).toEqual({ type: 'remove' })
    expect(silly.decide(victim({ name, opens: 0 }))).toEqual({ type: 'remove' })
  })

  test('and then given a name again by hand keeps it', () => {
    const silly = new SillyRenames()
    silly.renamed(victim(), 'silly')
    silly.moved(1, 'other')
    expect(silly.all()).toHaveLength(1)
    silly.moved(1, 'silly')
    expect(silly.lastClosed(7)).toBeUndefined()
  })

  test('counts on from the start when the counter is at its end', () => {
    const silly = new SillyRenames({ counter: 2 ** 32 - 1 })
    expect(silly.decide(victim())).toEqual({ type: 'rename', name: '.nfs000000000000123400000000' })
  })
})
