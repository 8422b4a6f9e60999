import { A, B, done, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

export const closeToOpen = scenario({
  name: 'close-to-open',
  summary: 'what A has closed is what B reads once it opens the file, however long B believes its cache',
  options: 'actimeo=600',
  steps: [
    A.run('echo old > note', done, 'a file of four bytes'),
    B.run('cat note', oldValue, 'B keeps the bytes in its page cache, and the attributes for ten minutes'),
    A.run('echo new > note; echo more >> note', done, 'close(2) returns when the server has all bytes'),
    B.run('stat -c %s note', prints('4', 'the old size'), 'stat(2) opens nothing, and the ten minutes are not over'),
    B.run(
      'head -n 1 note',
      newValue,
      'open(2) always asks: time or size are others, so B drops the bytes it has cached',
    ),
    B.run('stat -c %s note', prints('9', 'the new size'), 'that answer has mended the attribute cache, too'),
  ],
})
