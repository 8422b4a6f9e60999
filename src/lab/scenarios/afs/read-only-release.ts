import {
  A,
  B,
  done,
  FIRST,
  fails,
  job,
  matches,
  newValue,
  oldValue,
  prints,
  scenario,
  serve,
  server,
} from '../../vocabulary.ts'

export const readOnlyRelease = scenario({
  name: 'read-only-release',
  summary:
    'readers of a replica see the old state until it is released, then all of the new; and go on without the server',
  options: 'deadtime=1',
  steps: [
    serve('second', { join: FIRST }, 'a second file server of the cell, for a second replica'),
    A.run(
      'proteus afs create docs --server . && proteus afs mountpoint docs docs && echo old | tee docs/x docs/y docs/z',
      matches(/old/, 'created'),
      'a volume, and files in it',
    ),
    A.run(
      'proteus afs release docs --server . --add-site $FIRST --add-site $SECOND',
      matches(/docs.readonly is new on /, 'released'),
      'clones of the volume, read-only, on both servers',
    ),
    A.run('proteus afs mountpoint published docs.readonly', matches(/shows/, 'made'), 'where readers look'),
    B.run('cat published/x published/y', prints('old\nold'), 'B reads from one of the replicas'),
    B.run('echo no > published/x', fails('EROFS'), 'nobody changes a replica'),
    A.run('echo new | tee docs/x docs/y > docs/z', done, 'the volume itself is worked on'),
    B.run('cat docs/x', newValue, 'who looks there sees it at once'),
    B.run('cat published/x', oldValue, 'readers of the replica do not: it is not released yet'),
    B.start('holder', 'exec 3< published/x; echo open; read _; cat <&3', 'a program has the old version open'),
    job('holder').prints(prints('open'), 'and keeps it'),
    A.run(
      'proteus afs release docs --server .',
      matches(/docs.readonly is new on /, 'released'),
      'on each server the new clone takes the place of the old one in one step, and promises are broken',
    ),
    B.run('cat published/x published/y', prints('new\nnew'), 'all of it is new'),
    job('holder').enter('the program reads on'),
    job('holder').ends(prints('open\nold', 'the old value'), 'what was opened before the release is what it was'),
    server.crash('the first server, which knows where volumes are, dies'),
    B.run('cat published/z', newValue, 'what B has never read comes from the other replica'),
  ],
})
