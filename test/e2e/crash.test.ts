// kill -9 of the daemon in the middle of work: after a restart everything that was acknowledged is there, whole.
// What is in the kernel's page cache survives the death of a process, so acknowledged means: the call returned.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { onEachTarget } from '../support/each-target.ts'
import { random, seed } from '../support/random.ts'
import { type Running, run, shell, start } from '../support/run.ts'
import { agrees, startScript } from '../support/scripts.ts'
import { scratch } from '../support/targets.ts'

const rounds = 4
const timeout = 180_000

onEachTarget('crash', { mounts: 2, needs: ['crash', 'unlinkedNodes', 'xattrs'] }, (mounts) => {
  test(`acknowledged changes survive; seed ${seed()}`, { timeout }, async () => {
    const next = random(seed())
    const logs = scratch('crash')
    const done: { folder: string; log: string }[] = []

    async function begin(mount: string, round: string): Promise<{ work: Running; log: string }> {
      const log = join(logs, round)
      done.push({ folder: round, log })
      await run('mkdir', [join(mount, round)])
      const args = ['work', '--seed', String(seed() + done.length), join(mount, round), log]
      return { work: startScript('crash.py', args), log }
    }

    for (let round = 0; round < rounds; round++) {
      const workers = [await begin(mounts.a, `${round}a`), await begin(mounts.b, `${round}b`)]
      await Promise.all(workers.map(({ work, log }) => acknowledgements(log, 50 + next() * 800, work)))
      await sleep(next() * 5) // Anywhere within an operation.
      for (const { work, log } of workers) await stillWorks(work, log)
      await mounts.mounted.crash()
      await Promise.all(workers.map(({ work }) => work.finished))
      await mounts.mounted.restart()
      for (const { folder, log } of done) await agrees('crash.py', ['verify', join(mounts.a, folder), log])
    }

    await mounts.mounted.unmount()
    await mounts.mounted.restart()
    for (const { folder, log } of done) await agrees('crash.py', ['verify', join(mounts.b, folder), log])
  })
})

onEachTarget('crash under git', { mounts: 1, needs: ['crash'] }, (mounts) => {
  test(`acknowledged commits survive; seed ${seed()}`, { timeout }, async () => {
    const next = random(seed() + 1)
    const repository = join(mounts.a, 'repository')
    const log = join(scratch('git'), 'log')
    await run('git', ['init', '-q', repository])
    for (let round = 0; round < rounds; round++) {
      const work = start('sh', ['-c', commits, 'sh', repository, log])
      await acknowledgements(log, lines(log).length + 3 + next() * 10, work)
      await sleep(next() * 20)
      await stillWorks(work, log)
      await mounts.mounted.crash()
      await work.finished
      await mounts.mounted.restart()

      // A git that was interrupted leaves its lock files; removing them is what git tells its user to do.
      await shell('find .git -name "*.lock" -delete; git fsck --full --strict --no-dangling', { cwd: repository })
      const history = (await run('git', ['-C', repository, 'rev-list', 'HEAD'])).trimEnd().split('\n')
      expect(history).toEqual(expect.arrayContaining(lines(log)))
      expect(await shell('git reset -q --hard; git status --porcelain -uno', { cwd: repository })).toBe('')
    }
    expect(lines(log).length).toBeGreaterThanOrEqual(3 * rounds)
  })
})

/** Commits until something fails, and writes down each commit that git said it made. */
const commits = `
  cd "$1" || exit
  for i in $(seq 100000); do
    echo "$i $$" > "file$((i % 7))" && mkdir -p "d$((i % 3))" && echo "$i" >> "d$((i % 3))/f" || exit
    git add -A && git commit -qm "commit $i" || exit
    head=$(git rev-parse HEAD) && echo "$head" >> "$2" || exit
  done`

const lines = (log: string): string[] => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : [])

/** Waits until a log has so many lines. */
async function acknowledgements(log: string, count: number, work: Running): Promise<void> {
  while (lines(log).length < count) {
    await stillWorks(work, log)
    await sleep(2)
  }
}

/** Work that ends before the crash has met an error that is not the crash's. */
async function stillWorks(work: Running, log: string): Promise<void> {
  if (work.child.exitCode === null) return
  const { stderr } = await work.finished
  throw new Error(`the work ended before the crash: ${stderr}\n${lines(log).slice(-5).join('\n')}`)
}
