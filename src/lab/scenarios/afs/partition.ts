import { A, B, done, fails, newValue, oldValue, scenario, within } from '../../vocabulary.ts'

const LIFE_SECONDS = 8

export const partition = scenario({
  name: 'partition',
  summary: 'cut off, B reads what it keeps, stale, until the promise ends; then it says that it does not know',
  options: 'deadtime=3',
  serverOptions: { 'promise-life': String(LIFE_SECONDS), 'break-timeout': '1' },
  limitSeconds: 25,
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.run('cat note', oldValue, `B fetches it, with a promise of ${LIFE_SECONDS} s (4 hours by default)`),
    B.network('down', 'B is cut off'),
    A.run(
      'echo new > note',
      done,
      'the server cannot tell B; it waits for a second (10 by default), and takes the new version',
    ),
    A.run('cat note', newValue, 'it is there for all others'),
    within(LIFE_SECONDS, B.run('cat note', oldValue, 'B believes in a promise that was broken: this is stale')),
    B.until(
      'cat note',
      fails('ETIMEDOUT'),
      'it ends all the same when its time is over: then nothing is certain, and the server is dead to B',
    ),
    B.network('up', 'the packets get through again'),
    B.until('cat note', newValue, 'B hears of its server, asks, and fetches what A has stored'),
  ],
})
