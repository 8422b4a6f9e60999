import { A, B, done, matches, prints, scenario } from '../../vocabulary.ts'

const CALLBACK = `python3 -I -c '
import os
print("callback:", os.getxattr("note", "user.proteus.callback").decode())
print("version:", os.getxattr("note", "user.proteus.data_version").decode())'`

export const callbackBreak = scenario({
  name: 'callback-break',
  summary: 'B believes what it keeps, and is right: the server tells it before anything changes',
  steps: [
    A.run('echo old > note', done, 'a file of four bytes'),
    B.run(
      'stat -c %s note; cat note; ls',
      prints('4\nold\nnote'),
      'B keeps status, content and the names of the directory',
    ),
    B.run(
      CALLBACK,
      matches(/callback: promised until .*\nversion: 2$/m, 'a promise'),
      'with each of them came a callback promise: until then the server tells B before it changes',
    ),
    A.run('echo longer > note; touch other', done, 'close(2) waits until B has heard that its promises are broken'),
    B.run(
      'stat -c %s note',
      prints('7', 'the new size'),
      'B asks again, since it knows that it has to: no time-out, no stale size',
    ),
    B.run('ls', prints('note\nother'), 'the names were promised, too'),
    B.run('cat note', prints('longer'), 'and the content: the kernel of B has dropped the pages of the old version'),
    B.run(
      CALLBACK,
      matches(/callback: promised until .*\nversion: [3-9]$/m, 'a new promise'),
      'one of the next version',
    ),
    B.run(
      'grep breaks: .proteus/status',
      matches(/breaks: [2-9]/, 'at least two'),
      'the file and the directory: .proteus/status counts the promises that were broken',
    ),
  ],
})
