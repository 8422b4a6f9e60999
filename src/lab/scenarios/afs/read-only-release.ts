import { A, B, done, fails, matches, newValue, oldValue, scenario } from '../../vocabulary.ts'

export const readOnlyRelease = scenario({
  name: 'read-only-release',
  summary: 'readers of a replica see nothing of the work on its volume until it is released, and then all of it',
  steps: [
    A.run(
      'proteus afs create web --server . && proteus afs mountpoint work web',
      done,
      'a volume of its own; the directory work is a mount point, which names it',
    ),
    A.run('echo old > work/page; echo old > work/index', done, 'two files in the volume'),
    A.run(
      'proteus afs release web --server .',
      matches(/web.readonly is new/, 'a replica'),
      'web.readonly is a clone of the volume as it is now: it takes no room for what has not changed since',
    ),
    A.run('proteus afs mountpoint site web.readonly', done, 'a name for it'),
    B.run('cat site/page', oldValue, 'B reads the replica'),
    A.run('echo new > work/page', done, 'A works on one file'),
    B.run(
      'cat site/page',
      oldValue,
      'the replica is as it was released: of what nobody can change nobody has to be told',
    ),
    B.run('echo new > site/page', fails('EROFS'), 'not even B itself can'),
    A.run('echo new > work/index', done, 'the other file'),
    A.run(
      'proteus afs release web --server .',
      matches(/web.readonly is new/, 'a new replica'),
      'takes the place of the old one in one step, and breaks the promises for all of it',
    ),
    B.run('cat site/page', newValue, 'released'),
    B.run('cat site/index', newValue, 'both at once: there was no moment with one of them'),
    B.run(
      'proteus info site/page | grep ^volume',
      matches(/web.readonly/, 'the replica'),
      'proteus info tells which volume a file is in',
    ),
  ],
})
