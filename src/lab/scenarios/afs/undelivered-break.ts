import { A, B, done, job, matches, newValue, oldValue, scenario } from '../../vocabulary.ts'

export const undeliveredBreak = scenario({
  name: 'undelivered-break',
  summary: 'a break that cannot be delivered holds A up once; B, when it is back, is told to believe nothing it keeps',
  serverOptions: { 'break-timeout': '5' },
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.run('cat note', oldValue, 'B has it, with a promise'),
    B.network('down', 'B is cut off: its connection is silent, and nobody can tell whether it is slow or gone'),
    A.start('writer', 'echo newer > note', 'A stores, so the promise of B must be broken'),
    job('writer').waits('the server waits for the answer of B, for 5 s (10 by default)'),
    job('writer').ends(done, 'and then no longer: it notes that B has missed a break'),
    A.run(
      'timeout 4 sh -c "echo new > note"',
      done,
      'the next store waits for nobody: who has missed a break is promised nothing more',
    ),
    B.run('cat note', oldValue, 'B reads its copy, and knows of nothing: it has a promise, and heard no break'),
    B.network('up', 'the packets get through again'),
    B.until('cat note', newValue, 'the break comes late, but it comes: B asks, and hears of a new version'),
    B.run(
      'grep InitCallBackState: .proteus/status',
      matches(/: [2-9]/, 'InitCallBackState, again'),
      'before the server answered, it told B that no promise stands at all (the first time was when B was new)',
    ),
  ],
})
