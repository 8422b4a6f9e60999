import { A, B, done, job, prints, scenario } from '../../vocabulary.ts'

/** Locks one byte; when both programs have done that, asks for the other's. */
const lockBoth = (first: number, second: number) => `python3 -c '
import errno, fcntl, os, time
f = open("note", "r+")
fcntl.lockf(f, fcntl.LOCK_EX, 1, ${first})
print("has byte ${first}", flush=True)
while not os.path.exists("go"): time.sleep(0.01)
try:
    fcntl.lockf(f, fcntl.LOCK_EX, 1, ${second})
    result = "got both"
except OSError as error:
    result = "EDEADLK" if error.errno == errno.EDEADLK else str(error)
open("result-${first}", "w").write(result + "\\n")'`

export const deadlock = scenario({
  name: 'deadlock',
  summary: 'two programs on two mounts that wait for each other: one of them is told, and the other goes on',
  steps: [
    A.run('touch note', done, 'a file with two bytes to lock'),
    A.start('first', lockBoth(0, 1), 'byte 0, then byte 1'),
    B.start('second', lockBoth(1, 0), 'byte 1, then byte 0'),
    job('first').prints(prints('has byte 0'), 'the ranges do not overlap'),
    job('second').prints(prints('has byte 1'), 'the ranges do not overlap'),
    A.run('touch go', done, 'now each asks for what the other has'),
    job('first').ends(prints('has byte 0'), 'nobody waits for ever'),
    job('second').ends(prints('has byte 1'), 'nobody waits for ever'),
    A.run(
      'sort result-0 result-1',
      prints('EDEADLK\ngot both'),
      'the request that closes the circle gets EDEADLK, as on one kernel; when its program ends, the other is served',
    ),
  ],
})
