import { A, B, done, fails, job, newValue, prints, scenario } from '../../vocabulary.ts'

export const unlinked = scenario({
  name: 'unlinked',
  summary: 'a file that B removes lives on for the program on A that has it open',
  steps: [
    A.run('echo old > note', done, 'a file with a name'),
    A.start(
      'reader',
      'exec 3< note; echo open; until [ -e go ]; do sleep 0.05; done; cat <&3',
      'opens, and reads later',
    ),
    job('reader').prints(prints('open'), 'an open file is the inode, not the name'),
    B.run('rm note', done, 'the last name goes, through the other mount'),
    A.run('cat note', fails('ENOENT'), 'for everybody, at once'),
    B.run('echo new > note', done, 'the same name, another inode'),
    A.run('cat note', newValue, 'a name leads to what has it now'),
    B.run('touch go', done, 'now the reader reads'),
    job('reader').ends(
      prints('open\nold', 'the old value'),
      'an inode goes when neither a name nor an open file is left',
    ),
  ],
})
