import { A, B, done, job, matches, prints, scenario } from '../../vocabulary.ts'

/** Changes its line of the file, and closes it after Enter. */
const editor = (line: number) => `python3 -c '
import os
file = os.open("note", os.O_RDWR)
os.pwrite(file, b"new", ${4 * line}); print("written", flush=True); input()
os.close(file)'`

export const lastCloseWins = scenario({
  name: 'last-close-wins',
  summary: 'two sessions change one file: whoever closes last wins with the whole of it; the other is not told',
  steps: [
    A.run('printf "old\\nold\\n" > note', done, 'two lines'),
    A.start('left', editor(0), 'changes the first line'),
    job('left').prints(prints('written'), 'in the copy of A'),
    B.start('right', editor(1), 'changes the second line'),
    job('right').prints(prints('written'), 'in the copy of B, which has the old first line'),
    job('left').enter('A closes'),
    job('left').ends(done, 'the server has the file of A'),
    B.run('cat note', prints('old\nnew'), 'B goes on with its copy, for it has the file open for writing'),
    job('right').enter('B closes'),
    job('right').ends(done, 'no error: files are stored whole, and the last one counts'),
    A.run('cat note', prints('old\nnew'), 'the line that A has changed is lost'),
    B.run(
      'grep overwritten: .proteus/status',
      matches(/overwritten: 1/, 'one'),
      'the answer to the store told B which version it has replaced: not the one of its open, so somebody has lost',
    ),
    A.run(
      'grep overwritten: .proteus/status',
      matches(/overwritten: 0/, 'none'),
      'the loser is not told; locks are for that',
    ),
  ],
})
