import { A, B, done, job, prints, scenario } from '../../vocabulary.ts'

const append = (name: string) => `for i in $(seq 500); do echo "${name} $i" >> log; done`

export const appends = scenario({
  name: 'appends',
  summary: 'two programs append to one log from two mounts, and no line is lost',
  steps: [
    A.run('touch log', done, 'an empty log'),
    A.start('left', append('A'), '500 lines, each opened with O_APPEND'),
    B.start('right', append('B'), 'at the same time, from the other mount'),
    job('left').ends(done, 'no append fails'),
    job('right').ends(done, 'no append fails'),
    B.run(
      'wc -l < log',
      prints('1000'),
      'O_APPEND finds the end and writes in one step, whichever mount it comes from',
    ),
    A.run('sort -u log | wc -l', prints('1000'), 'and so no line lies on another'),
    A.run("grep -Evc '^[AB] [0-9]+$' log || true", prints('0'), 'nor is one torn, or zeros between them'),
  ],
})
