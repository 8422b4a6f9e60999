import { A, B, done, job, prints, scenario } from '../../vocabulary.ts'

/** Opens, and writes its line after Enter. */
const appender = (name: string) => `exec 3>> log; echo open; read _; echo "line of ${name}" >&3`

/** Both mounts have the file open for each pair of lines, as two programs would that run at the same time. */
const RACE = `python3 -c '
import os
for i in range(100):
    a = open(os.environ["A"] + "/race", "a")
    b = open(os.environ["B"] + "/race", "a")
    print("A", i, file=a); a.close()
    print("B", i, file=b); b.close()'`

export const lostAppend = scenario({
  name: 'lost-append',
  summary: 'two programs append to one log from two mounts, and lines are lost: NFS cannot append',
  options: 'actimeo=600',
  steps: [
    A.run('echo first > log', done, 'a log with one line, six bytes long'),
    A.start('left', appender('A'), 'opens it with O_APPEND'),
    job('left').prints(prints('open'), 'A asks for the attributes: the end is at byte 6'),
    B.start('right', appender('B'), 'opens it with O_APPEND, too'),
    job('right').prints(prints('open'), 'for B the end is at byte 6 as well'),
    job('left').enter('A appends its line'),
    job('left').ends(done, 'WRITE at offset 6: the protocol has no “at the end”, so the client says where that is'),
    job('right').enter('B appends its line'),
    job('right').ends(done, 'WRITE at offset 6, for that is where B believes the end to be; no error, on either side'),
    A.run('cat log', prints('first\nline of B'), 'the line of A is overwritten: lost, and nobody was told'),
    A.run(RACE, done, 'a hundred times the same: both open, both append, both close'),
    B.run('wc -l < race', prints('100'), '200 lines were written, each without an error, and half of them are there'),
    A.run('grep -c A race || true', prints('0'), 'whoever wrote first has lost'),
  ],
})
