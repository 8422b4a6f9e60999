import { A, B, done, newValue, oldValue, scenario, within } from '../../vocabulary.ts'

export const noCloseToOpen = scenario({
  name: 'no-close-to-open',
  summary: 'with the option nocto an open asks nobody, and B reads old bytes until its timeout is over',
  options: 'nocto,actimeo=3',
  steps: [
    A.run('echo old > note', done, 'the first content'),
    B.run('cat note', oldValue, 'B caches bytes and attributes'),
    A.run('echo new > note', done, 'written and closed'),
    within(
      3,
      B.run('cat note', oldValue, 'nocto saves the question at open(2), and with it goes close-to-open consistency'),
    ),
    B.until('cat note', newValue, 'only the attribute timeout limits how old the bytes may be'),
  ],
})
