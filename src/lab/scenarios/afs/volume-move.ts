import { A, B, done, FIRST, job, matches, prints, scenario, serve } from '../../vocabulary.ts'

export const volumeMove = scenario({
  name: 'volume-move',
  summary: 'a volume moves to another file server while tar unpacks into it: programs notice nothing',
  steps: [
    serve('second', { join: FIRST }, 'a second file server of the cell; the first knows where volumes are'),
    A.run('proteus afs create src --server .', matches(/^src .* is on /, 'created'), 'a volume, on the first server'),
    A.run('proteus afs mountpoint src src', prints('src shows src now.'), 'and a place in the name space for it'),
    A.run(
      'mkdir t && for n in $(seq 50); do echo "this is file $n" > t/$n; done && tar cf t.tar t',
      done,
      'something to unpack',
    ),
    A.start(
      'tar',
      'until [ -e stop ]; do mkdir src/$((n+=1)) && tar xf t.tar -C src/$n || exit 1; echo $n; done',
      'A unpacks it into the volume, again and again',
    ),
    job('tar').prints(matches(/^1$/m, 'once'), 'the volume is being written'),
    B.start('reader', 'until [ -e stop ]; do cat src/1/t/7 > last || exit 1; done; cat last', 'B reads in it'),
    B.run(
      'proteus afs move src $SECOND --server .',
      matches(/src is on .* now/, 'moved'),
      'a clone was sent while the volume was used; then it was busy, for as long as what had changed since took',
    ),
    B.until(
      'proteus info src | grep -c "^server .*$SECOND"',
      prints('1'),
      'the old server said “moved”, the location server where to: B goes on there',
    ),
    A.run('touch stop', done, 'enough'),
    job('tar').ends(matches(/^\d+$/m, 'no error'), 'no call of tar has failed: while the volume was busy, it waited'),
    job('reader').ends(prints('this is file 7'), 'nor one of the reader'),
    B.run(
      'for t in src/*/t; do diff -r t $t || exit 1; done; echo the same',
      prints('the same'),
      'every byte is there, whatever was under way',
    ),
  ],
})
