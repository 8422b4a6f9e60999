import { A, B, done, prints, scenario, within } from '../../vocabulary.ts'

export const staleStat = scenario({
  name: 'stale-stat',
  summary: 'stat on B shows the old size until the attribute timeout is over',
  options: 'actimeo=3',
  steps: [
    A.run('printf old > note', done, 'close(2) has brought three bytes to the server'),
    B.run('stat -c %s note', prints('3'), 'B asks the server, and believes the answer for 3 s (by default 3 to 60 s)'),
    A.run('printf longer > note', done, 'the server has six bytes now, and tells nobody: it does not know who caches'),
    A.run('stat -c %s note', prints('6'), 'A knows what it did itself'),
    within(
      3,
      B.run('stat -c %s note', prints('3', 'the old size'), 'B answers from its attribute cache, without asking'),
    ),
    B.until('stat -c %s note', prints('6', 'the new size'), 'the 3 s are over: B does not believe it longer, and asks'),
  ],
})
