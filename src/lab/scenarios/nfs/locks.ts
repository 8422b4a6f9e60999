import { A, B, done, job, matches, prints, scenario } from '../../vocabulary.ts'

/** Locks all bytes, and lets go after Enter. */
const HOLDER = `python3 -c '
import fcntl
file = open("count", "r+")
fcntl.lockf(file, fcntl.LOCK_EX); print("locked", flush=True); input()
fcntl.lockf(file, fcntl.LOCK_UN)'`

/** On both mounts at once: a hundred times one more. */
const COUNTERS = `for mount in "$A" "$B"; do python3 -c '
import fcntl, os, sys
file = os.open(sys.argv[1] + "/count", os.O_RDWR)
for i in range(100):
    fcntl.lockf(file, fcntl.LOCK_EX)
    n = int(os.pread(file, 10, 0))
    os.pwrite(file, b"%d" % (n + 1), 0)
    fcntl.lockf(file, fcntl.LOCK_UN)' "$mount" & done; wait`

export const locks = scenario({
  name: 'locks',
  summary: 'the server keeps the locks of all clients, and what is done under a lock is seen by the next who gets it',
  steps: [
    A.run('printf 0 > count', done, 'a number to count up'),
    A.start('holder', HOLDER, 'an fcntl(2) lock, until Enter'),
    job('holder').prints(prints('locked'), 'A has asked the lock manager of the server (NLM), with LOCK'),
    B.run(
      'flock -n count true || echo busy',
      prints('busy'),
      'B asks the same lock manager; NLM knows byte ranges only, so flock(2) is a lock on all of them',
    ),
    B.start('waiter', 'flock count echo mine', 'the same lock, and this one waits'),
    B.until(
      'grep state: .proteus/status',
      matches(/blocked/, 'blocked'),
      'BLOCKED: the server has put B into its queue',
    ),
    job('waiter').waits('waiting takes as long as A takes'),
    job('holder').enter('A unlocks'),
    job('holder').ends(prints('locked'), 'with UNLOCK'),
    job('waiter').ends(prints('mine'), 'the server calls B back: GRANTED; nobody has to ask again and again'),
    A.run(
      COUNTERS,
      done,
      'what was written is sent before UNLOCK, and whoever gets a lock believes nothing that was in the cache before',
    ),
    A.run('cat count', prints('200'), 'no step is lost: each has read what the other had written last'),
  ],
})
