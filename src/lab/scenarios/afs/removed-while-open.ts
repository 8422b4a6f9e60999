import { A, B, done, fails, job, prints, scenario } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_RDWR)
print("open", flush=True); input()
os.write(file, b"new"); print(os.pread(file, 3, 0).decode(), flush=True); input()
os.close(file)'`

export const removedWhileOpen = scenario({
  name: 'removed-while-open',
  summary: 'A removes what B has open: B reads its copy to the end, and hears of it when it wants to store',
  steps: [
    A.run('printf old > note', done, 'a file'),
    B.start('reader', 'exec 3< note; echo open; read _; cat <&3', 'opens it, and reads after Enter'),
    job('reader').prints(prints('open'), 'B has the whole of it'),
    B.start('writer', WRITER, 'opens it, too; writes after Enter, and closes after another'),
    job('writer').prints(prints('open'), 'in the same copy'),
    A.run('rm note', done, 'the server tells B, and the file is gone'),
    B.run('cat note', fails('ENOENT'), 'for B as well: nobody can open it any more'),
    job('reader').enter('it reads now'),
    job('reader').ends(prints('open\nold'), 'a session has its copy (an NFS client would get ESTALE)'),
    job('writer').enter('it writes now'),
    job('writer').prints(prints('open\nnew'), 'that is possible, too'),
    job('writer').enter('and closes'),
    job('writer').ends(fails('ESTALE'), 'there is no file any more to store it in, and close(2) is who can say so'),
  ],
})
