// Processes that race on both mounts: nothing is lost, nothing is torn, nothing is both.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { onEachTarget } from '../support/each-target.ts'
import { run, shell } from '../support/run.ts'
import { script } from '../support/scripts.ts'
import { scratch } from '../support/targets.ts'

const races = (...args: (string | number)[]): Promise<unknown> => script('races.py', args.map(String))

onEachTarget('races', { mounts: 2, needs: ['coherence'] }, (mounts) => {
  test('a file that is being replaced by rename is always there and always whole', async () => {
    const stop = join(scratch('races'), 'stop')
    await races('replace', join(mounts.a, 'replaced'), 1, 'a')
    const readers = [mounts.a, mounts.b, mounts.b].map((mount) => races('read', join(mount, 'replaced'), stop))
    try {
      await Promise.all([
        races('replace', join(mounts.a, 'replaced'), 400, 'a'),
        races('replace', join(mounts.b, 'replaced'), 400, 'b'),
      ])
    } finally {
      writeFileSync(stop, '')
    }
    for (const reader of await Promise.all(readers)) {
      expect(reader).toEqual({ reads: expect.any(Number), wrong: {} })
      expect((reader as { reads: number }).reads).toBeGreaterThan(0)
    }
  })

  test('appending from both mounts loses nothing', async () => {
    const each = 3000
    await Promise.all(
      ['a', 'b', 'c'].map((tag, i) => races('append', join(i % 2 === 0 ? mounts.a : mounts.b, 'appended'), each, tag)),
    )
    const lines = (await run('cat', [join(mounts.b, 'appended')])).trimEnd().split('\n')
    expect(lines.length).toBe(3 * each)
    for (const tag of ['a', 'b', 'c']) {
      const own = lines.filter((line) => line.startsWith(tag))
      expect(own).toEqual(
        Array.from({ length: each }, (_, i) => `${tag}${String(i).padStart(6, '0')} ${tag.repeat(i % 90)}`),
      )
    }
  })

  test('of two that create exclusively, or rename, exactly one wins', async () => {
    const count = 300
    await run('mkdir', [join(mounts.a, 'contested')])
    for (const contest of ['claim', 'take']) {
      const won = (await Promise.all([
        races(contest, join(mounts.a, 'contested'), count, 'a'),
        races(contest, join(mounts.b, 'contested'), count, 'b'),
      ])) as { got: number[] }[]
      const all = won.flatMap(({ got }) => got).sort((x, y) => x - y)
      expect(all).toEqual(Array.from({ length: count }, (_, i) => i))
    }
    const left = (await run('ls', [join(mounts.b, 'contested')])).trimEnd().split('\n')
    expect(left.length).toBe(count)
    expect(left.every((name) => /\.[ab]$/.test(name))).toBe(true)
  })

  test('rm -rf on one mount and making files on the other end with an empty tree', async () => {
    await shell('for i in $(seq 30); do mkdir -p tree/$i; touch tree/$i/a tree/$i/b; done', { cwd: mounts.a })
    await Promise.all([
      shell('for i in $(seq 30); do touch tree/$i/c 2>/dev/null || :; done', { cwd: mounts.a }),
      shell('while [ -e tree ]; do rm -rf tree 2>/dev/null || :; done', { cwd: mounts.b }),
    ])
    expect(await run('find', [mounts.a, '-name', 'tree'])).toBe('')
    expect(await run('find', [mounts.b, '-name', 'tree'])).toBe('')
  })
})

onEachTarget('races under locks', { mounts: 2, needs: ['locks', 'sharedLocks'] }, (mounts) => {
  for (const kind of ['fcntl', 'ofd', 'flock']) {
    test(`a counter under ${kind} locks counts every step of both mounts`, async () => {
      const name = `counter-${kind}`
      await shell(`printf 0 > ${name}`, { cwd: mounts.a })
      await Promise.all([mounts.a, mounts.b, mounts.b].map((mount) => races('count', join(mount, name), 300, kind)))
      expect(await run('cat', [join(mounts.a, name)])).toBe('900')
    })
  }
})
