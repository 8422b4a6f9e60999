import { A, B, done, interrupted, job, matches, oldValue, scenario } from '../../vocabulary.ts'

export const hardPartition = scenario({
  name: 'hard-partition',
  summary: 'a hard mount waits for as long as the network is down; Ctrl-C ends the program that waits',
  options: 'actimeo=600',
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.network('down', 'B is cut off: no packet comes through, and no connection is reset'),
    B.start('impatient', 'cat note', 'needs the server'),
    job('impatient').waits('hard is the default: better to wait than to tell a program of an error that will pass'),
    B.run(
      'grep -A3 waiting: .proteus/status',
      matches(/op: NFS3/, 'a call'),
      '.proteus/status says what it is that waits',
    ),
    A.run('cat note', oldValue, 'A has a connection of its own'),
    job('impatient').interrupt(interrupted, 'a call that waits for the server can be interrupted'),
    B.start('patient', 'cat note', 'another one, with more patience'),
    job('patient').waits('it is cut off, too'),
    B.network('up', 'the packets get through again'),
    job('patient').ends(oldValue, 'it goes on as if nothing had happened'),
  ],
})
