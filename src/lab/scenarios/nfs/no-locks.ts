import { A, B, done, job, prints, scenario } from '../../vocabulary.ts'

/** Counts one up under a lock, with time to think in between. */
const COUNT = 'flock count sh -c \'n=$(cat count); echo "has $n"; read _; echo $((n + 1)) > count\''

export const noLocks = scenario({
  name: 'no-locks',
  summary: 'with nolock each mount has locks of its own: both get the same lock, and a step is lost',
  options: 'nolock',
  steps: [
    A.run('echo 0 > count', done, 'a number to count up'),
    A.start('left', COUNT, 'locks the file, reads the number, and writes one more after Enter'),
    job('left').prints(prints('has 0'), 'the lock is granted, by the kernel, who does not ask the server'),
    A.run('flock -n count true || echo busy', prints('busy'), 'on its own mount it keeps others out'),
    B.start('right', COUNT, 'the same on B'),
    job('right').prints(prints('has 0'), 'granted as well: B does not know what is locked on A'),
    A.run('grep -c NLM .proteus/status || true', prints('0'), 'A has never called the lock manager of the server'),
    job('left').enter('A goes on'),
    job('left').ends(done, 'writes 1'),
    job('right').enter('B goes on'),
    job('right').ends(done, 'writes 1 as well, for it had read 0'),
    A.run('cat count', prints('1'), 'two steps, each under a lock, and one is lost without an error'),
  ],
})
