import { A, B, done, fails, job, oldValue, prints, scenario } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_WRONLY)
os.write(file, b"new"); print("written", flush=True); input()
os.close(file)'`

export const softPartition = scenario({
  name: 'soft-partition',
  summary: 'a soft mount gives up: programs get errors, also for bytes that they wrote before',
  options: 'soft,timeo=5,retrans=2',
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.start('writer', WRITER, 'writes, and closes after Enter'),
    job('writer').prints(prints('written'), 'write(2) has succeeded: B has the bytes'),
    B.network('down', 'B is cut off'),
    B.run(
      'cat note',
      fails('ETIMEDOUT'),
      'timeo is in tenths of a second: 0.5 s, and two longer tries, then it is over',
    ),
    job('writer').enter('now it closes the file'),
    job('writer').ends(fails('ETIMEDOUT'), 'the bytes cannot be sent, and close(2) is the last who can say so'),
    B.network('up', 'the packets get through again'),
    B.run('cat note', oldValue, 'what was given up is lost: this is why hard is the default'),
  ],
})
