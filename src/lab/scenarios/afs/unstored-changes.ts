import { A, B, done, fails, job, oldValue, prints, scenario } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_WRONLY)
os.write(file, b"new"); print("written", flush=True); input()
os.close(file)'`

export const unstoredChanges = scenario({
  name: 'unstored-changes',
  summary: 'what was written but not closed when a client died is kept in its cache and told of, not stored',
  steps: [
    A.run('printf old > note', done, 'a file'),
    A.start('writer', WRITER, 'writes, and would close after Enter'),
    job('writer').prints(
      prints('written'),
      'the bytes are in the cache of A; that they may differ was noted on disk before',
    ),
    A.crash('kill -9 of the client'),
    B.run('cat note', oldValue, 'the server has nothing of it'),
    A.startAgain('it finds a file that was written and not closed'),
    A.run(
      'grep -o "nobody had closed it" .proteus/status',
      prints('nobody had closed it'),
      'the bytes are kept, and told of; a store that was interrupted would be finished',
    ),
    A.run('cat note', oldValue, 'what may be half of something is no version of the file, here either'),
    B.run('cat note', oldValue, 'nor there'),
    job('writer').enter('the program goes on'),
    job('writer').ends(
      fails('ENOTCONN'),
      'its descriptor died with the mount: close(2) cannot say what became of the bytes',
    ),
  ],
})
