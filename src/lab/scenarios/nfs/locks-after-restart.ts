import { A, B, done, job, matches, prints, scenario, server, within } from '../../vocabulary.ts'

/** How long the server lets in those only who had locks before, in seconds. */
const GRACE_SECONDS = 10

const IN_GRACE = 'until grep "lets those in first" .proteus/status; do sleep 0.1; done'

export const locksAfterRestart = scenario({
  name: 'locks-after-restart',
  summary: 'the server forgets all locks when it dies, and whoever had one gets it back before others can',
  limitSeconds: 25,
  steps: [
    A.run('touch note', done, 'a file to lock'),
    A.start('holder', "flock note sh -c 'echo locked; read _'", 'a lock, until Enter'),
    job('holder').prints(
      prints('locked'),
      'before it grants the first lock the server writes down on disk: A has locks',
    ),
    B.start('waiter', 'flock note echo mine', 'wants the same lock'),
    B.until('grep state: .proteus/status', matches(/blocked/, 'blocked'), 'B is in the queue of the server'),
    server.crash('locks and queue were in its memory: they are gone'),
    server.startAgain(
      'it finds on disk that A had locks: for 10 s (the grace period) A may have them back, and nobody gets others',
    ),
    within(
      GRACE_SECONDS,
      B.run(IN_GRACE, matches(/lets those in first/, 'the grace period'), 'B asks again, and is told to wait'),
    ),
    A.until(
      'grep NLM4.LOCK .proteus/status',
      matches(/: [2-9]/, 'LOCK, again'),
      'A has asked for its lock anew, marked “reclaim”; the program that holds it notices nothing',
    ),
    B.run(
      'flock -n note true || echo busy',
      prints('busy'),
      'who does not want to wait has to, until the grace period is over: only then is it certain who has what',
    ),
    job('waiter').waits('A has its lock, and B is in the queue again'),
    job('holder').enter('A lets go'),
    job('holder').ends(done, 'UNLOCK, as if the server had never died'),
    job('waiter').ends(prints('mine'), 'and B is called back'),
  ],
})
