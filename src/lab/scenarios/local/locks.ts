import { A, B, done, interrupted, job, prints, scenario } from '../../vocabulary.ts'

export const locks = scenario({
  name: 'locks',
  summary: 'a lock that is held on A excludes programs on B, which get it when A lets go',
  steps: [
    A.run('touch note', done, 'a file to lock'),
    A.start('holder', "flock note sh -c 'echo locked; exec sleep 1000'", 'an exclusive lock, for as long as it runs'),
    job('holder').prints(prints('locked'), 'nobody else has it'),
    B.run('flock -n note true || echo busy', prints('busy'), 'all mounts ask one lock table'),
    B.run('flock -n other echo free', prints('free'), 'locks are by file'),
    B.start('waiter', 'flock note echo mine', 'the same lock, and this one waits'),
    job('waiter').waits('A still holds it, and waiting takes as long as it takes'),
    job('holder').interrupt(interrupted, 'the lock ends with the process that holds it'),
    job('waiter').ends(prints('mine'), 'the waiter is woken when the lock is free, on whichever mount it waits'),
  ],
})
