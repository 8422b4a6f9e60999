import { A, B, done, job, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_WRONLY)
os.write(file, b"new"); print("written", flush=True); input()
os.close(file)'`

export const sessionSemantics = scenario({
  name: 'session-semantics',
  summary: 'what A writes B sees once A has closed it, and what B has open stays as it was at the open',
  steps: [
    A.run('printf old > note', done, 'written and closed: close(2) has stored the file at the server'),
    A.start('writer', WRITER, 'writes, and closes after Enter'),
    job('writer').prints(prints('written'), 'write(2) went to the copy in the cache of A, and nowhere else'),
    A.run('cat note', newValue, 'programs on one mount share its copy, so on A it is seen at once'),
    B.run('cat note', oldValue, 'the server has nothing of it'),
    B.start('reader', 'exec 3< note; echo open; read _; cat <&3', 'opens it, and reads after Enter'),
    job('reader').prints(prints('open'), 'B has the whole file now, as it is at the server'),
    job('writer').enter('A closes the file'),
    job('writer').ends(
      prints('written'),
      'the server has told B (CallBack) and has the new file before close(2) returns',
    ),
    B.run('cat note', newValue, 'whoever opens it from now on gets what A has closed'),
    job('reader').enter('it reads what it has open'),
    job('reader').ends(prints('open\nold'), 'a session goes on with the version of its open, to its end'),
  ],
})
