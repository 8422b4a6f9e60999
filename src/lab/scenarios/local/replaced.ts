import { A, B, done, job, prints, scenario } from '../../vocabulary.ts'

export const replaced = scenario({
  name: 'replaced',
  summary: 'a file that A replaces by rename is never missing and never half on B',
  steps: [
    A.run('echo version 0 > note', done, 'the first version'),
    B.start(
      'reader',
      'until [ -e finished ]; do text=$(cat note) && [ -n "$text" ] || exit 1; done; echo always there',
      'reads as fast as it can, and stops at the first time that there is no file or nothing in it',
    ),
    A.run(
      'for i in $(seq 300); do echo "version $i" > draft && mv draft note || exit 1; done',
      done,
      'programs save this way: write a new file, rename it over the old',
    ),
    A.run('touch finished', done, 'the reader may stop'),
    job('reader').ends(prints('always there'), 'rename(2) is atomic: a name leads to the old file or the new one'),
    B.run('cat note', prints('version 300'), 'and after it has returned to the new one only'),
  ],
})
