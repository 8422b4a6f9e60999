import { A, B, done, fails, newValue, prints, scenario, within } from '../../vocabulary.ts'

export const negativeEntry = scenario({
  name: 'negative-entry',
  summary: 'B remembers that there was no such file, when A has long made it',
  options: 'acdirmin=3,acdirmax=3',
  steps: [
    B.run('cat note', fails('ENOENT'), 'B remembers the missing name for as long as it believes in the directory: 3 s'),
    A.run('echo new > note', done, 'there is one now'),
    A.run('ls', prints('note'), 'on A, and on the server'),
    within(
      3,
      B.run('cat note', fails('ENOENT'), 'B does not even ask for what it knows to be missing (lookupcache=all)'),
    ),
    B.until(
      'cat note',
      newValue,
      'the directory has to be asked for again; it has changed, so all its names count no more',
    ),
  ],
})
