import { A, B, done, fails, job, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_WRONLY)
os.write(file, b"new"); print("written", flush=True); input()
os.close(file)'`

export const unstoredChanges = scenario({
  name: 'unstored-changes',
  summary: 'what was written but not closed when a client died is in its cache, and is stored when it is back',
  steps: [
    A.run('printf old > note', done, 'a file'),
    A.start('writer', WRITER, 'writes, and would close after Enter'),
    job('writer').prints(
      prints('written'),
      'the bytes are in the cache of A; that they may differ was noted on disk before',
    ),
    A.crash('kill -9 of the client'),
    B.run('cat note', oldValue, 'the server has nothing of it'),
    A.startAgain('it finds a file that was written and not stored'),
    B.until(
      'cat note',
      newValue,
      'nobody else has stored since, so it is stored now; otherwise it would be kept, and told of',
    ),
    job('writer').enter('the program goes on'),
    job('writer').ends(
      fails('ENOTCONN'),
      'its descriptor died with the mount: close(2) cannot say what became of the bytes',
    ),
  ],
})
