import { A, B, done, fails, job, matches, prints, scenario } from '../../vocabulary.ts'

const RANGE = `python3 -c '
import fcntl
file = open("note", "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print("locked", flush=True); input()'`

export const locks = scenario({
  name: 'locks',
  summary: 'flock(2) locks a file on all mounts; locks of byte ranges hold on one mount only',
  steps: [
    A.run('touch note', done, 'a file to lock'),
    A.start('holder', "flock note sh -c 'echo locked; read _'", 'a lock, until Enter'),
    job('holder').prints(
      prints('locked'),
      'A has asked the server (SetLock): the lock is of the whole file, for 5 minutes, and A extends it',
    ),
    B.run('flock -n note true || echo busy', prints('busy'), 'B asks the server, too'),
    B.start('waiter', 'flock note echo mine', 'the same lock, and this one waits'),
    job('waiter').waits('the server keeps no queue: B asks again and again'),
    job('holder').enter('A lets go'),
    job('holder').ends(done, 'ReleaseLock'),
    job('waiter').ends(prints('mine'), 'granted'),
    A.start('left', RANGE, 'fcntl(2) locks bytes; AFS has no such locks'),
    job('left').prints(prints('locked'), 'so A grants it among its own programs'),
    A.run(RANGE, fails('EAGAIN'), 'where it excludes the others'),
    B.start('right', RANGE, 'and B among its own'),
    job('right').prints(prints('locked'), 'both have it: the server was not asked'),
    B.run(
      'grep "byte-range locks" .proteus/status',
      matches(/this mount only/, 'a limitation'),
      '.proteus/status says so, and the log when it happens for the first time',
    ),
    job('left').enter('A ends'),
    job('left').ends(done, 'nobody has noticed'),
    job('right').enter('B ends'),
    job('right').ends(done, 'here neither'),
  ],
})
