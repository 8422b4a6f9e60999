import { A, B, done, fails, job, matches, prints, scenario } from '../../vocabulary.ts'

/** Locks one byte, and after Enter the other one, too. */
const lockBoth = (first: number, second: number) => `python3 -c '
import fcntl
file = open("note", "r+")
fcntl.lockf(file, fcntl.LOCK_EX, 1, ${first}); print("has byte ${first}", flush=True); input()
fcntl.lockf(file, fcntl.LOCK_EX, 1, ${second}); print("has both", flush=True)'`

export const deadlock = scenario({
  name: 'deadlock',
  summary: 'two programs on two mounts that wait for each other: the server tells one, and the other goes on',
  steps: [
    A.run('touch note', done, 'a file; bytes can be locked that it has not got'),
    A.start('first', lockBoth(0, 1), 'byte 0, then byte 1'),
    job('first').prints(prints('has byte 0'), 'granted'),
    B.start('second', lockBoth(1, 0), 'byte 1, then byte 0'),
    job('second').prints(prints('has byte 1'), 'granted, too: the ranges do not overlap'),
    job('first').enter('A asks for byte 1'),
    A.until('grep state: .proteus/status', matches(/blocked/, 'blocked'), 'B has it, so A waits in the queue'),
    job('first').waits('B may let go at any time'),
    job('second').enter('B asks for byte 0, and would wait for A, who waits for B'),
    job('second').ends(
      fails('EDEADLK'),
      'neither kernel could know, but the server sees who waits for whom: it answers DEADLCK',
    ),
    job('first').ends(
      prints('has byte 0\nhas both'),
      'the program on B has ended, which gives up its lock: A is called back',
    ),
  ],
})
