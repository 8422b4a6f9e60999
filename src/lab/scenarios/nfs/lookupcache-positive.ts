import { A, B, done, fails, newValue, oldValue, scenario } from '../../vocabulary.ts'

export const lookupcachePositive = scenario({
  name: 'lookupcache-positive',
  summary: 'with lookupcache=positive B asks again for what was missing, but not for what was there',
  options: 'lookupcache=positive,actimeo=600',
  steps: [
    A.run('echo old > early', done, 'one file that is there'),
    B.run('cat early', oldValue, 'B remembers that name for ten minutes'),
    B.run('cat note', fails('ENOENT'), 'and does not remember this one: positive means only names that are there'),
    A.run('mv early late; echo new > note', done, 'one name is gone, and the other appears'),
    B.run('cat early', oldValue, 'the old name is still believed, and the handle behind it is good'),
    B.run('cat note', newValue, 'a missing name is asked for: each look at one costs a LOOKUP, and finds what is new'),
    B.until(
      'cat early',
      fails('ENOENT'),
      'the answer told that the directory has changed since B learnt its names: none of them is believed any more',
    ),
  ],
})
