import { A, B, done, fails, job, matches, prints, scenario } from '../../vocabulary.ts'

const silly = matches(/^\.nfs[0-9a-f]{24}\n$/, 'a name that begins with .nfs')

export const sillyRename = scenario({
  name: 'silly-rename',
  summary: 'a file that A removes while A has it open is only renamed, and goes at the last close',
  options: 'actimeo=0',
  steps: [
    A.run('echo old > note', done, 'a file'),
    A.start('reader', 'exec 3< note; echo open; read _; cat <&3', 'has it open, and reads after Enter'),
    job('reader').prints(prints('open'), 'only the client knows that: NFS 3 has no open and close on the wire'),
    A.run('rm note; cat note', fails('ENOENT'), 'the name is gone, as POSIX wants it'),
    A.run('ls -A', silly, 'REMOVE would have destroyed the file, so the client sent RENAME instead: “silly rename”'),
    B.run('ls -A', silly, 'it is a real name on the server: everybody sees it'),
    A.run('rm .nfs*', fails('EBUSY'), 'removing it by hand is what the client that needs it does not allow'),
    job('reader').enter('it reads now'),
    job('reader').ends(prints('open\nold', 'the old value'), 'which is what the trouble was for'),
    A.until('ls -A', prints('', 'nothing'), 'that was the last close: now the client sends the REMOVE'),
    B.run('ls -A', prints('', 'nothing'), 'and the name is gone for everybody'),
  ],
})
