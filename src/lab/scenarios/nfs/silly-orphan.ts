import { A, B, done, interrupted, job, matches, oldValue, prints, scenario } from '../../vocabulary.ts'

const silly = matches(/^\.nfs[0-9a-f]{24}\n$/, 'a name that begins with .nfs')

export const sillyOrphan = scenario({
  name: 'silly-orphan',
  summary: 'a client that dies leaves its silly names behind, and nobody else removes them',
  options: 'actimeo=0',
  steps: [
    A.run('echo old > note', done, 'a file'),
    A.start('reader', 'exec 3< note; echo open; read _', 'has it open'),
    job('reader').prints(prints('open'), 'only the client knows that'),
    A.run('rm note; ls -A', silly, 'so the client renames it, and will remove it at the last close'),
    A.crash('the client dies before that'),
    B.run('ls -A', silly, 'the server never knew that anybody had it open: to it this is a file like any other'),
    job('reader').interrupt(interrupted, 'the last close comes, and there is no client to hear of it'),
    A.startAgain('a new client, which has never heard of it either'),
    A.run('ls -A', silly, 'an orphan: it takes space until somebody removes it, as cron jobs do with old .nfs files'),
    A.run('cat .nfs*', oldValue, 'nothing is lost, at least'),
    B.run('rm .nfs* && ls -A', prints('', 'nothing'), 'nobody has it open, so nobody objects'),
  ],
})
