import { A, B, done, fails, job, prints, scenario } from '../../vocabulary.ts'

export const estale = scenario({
  name: 'estale',
  summary: 'what A removes is gone, also for the program on B that has it open: ESTALE',
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.start('reader', 'exec 3< note; echo open; read _; cat <&3', 'opens it, and reads after Enter'),
    job('reader').prints(prints('open'), 'B has a file handle, and the server has no list of who has which'),
    A.run('rm note', done, 'nobody on A has it open, so A sends REMOVE: the silly rename is a matter of each client'),
    job('reader').enter('it reads now'),
    job('reader').ends(fails('ESTALE'), 'the handle leads to nothing; on a local file system the file would live on'),
    B.run('cat note', fails('ENOENT'), 'open(2) asks by handle, hears that it is stale, and looks the name up again'),
  ],
})
