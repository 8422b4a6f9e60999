// Scenarios for tests of `proteus demo`, in the test's own mode (board-mode.ts).
import type { Scenario } from '../../src/lab/scenario.ts'
import {
  A,
  B,
  done,
  fails,
  interrupted,
  job,
  newValue,
  oldValue,
  scenario,
  server,
  within,
} from '../../src/lab/vocabulary.ts'

const outage = scenario({
  name: 'outage',
  summary: 'servers, networks and mounts fail one by one',
  steps: [
    A.run('echo old > note', done, 'close brings the text to the server'),
    B.run('cat note', oldValue, 'open fetches it'),
    server.crash('kill -9'),
    B.start('reader', 'cat note', 'there is nobody to ask'),
    job('reader').waits('a hard mount waits'),
    server.startAgain('on the same port'),
    job('reader').ends(oldValue, 'and goes on'),
    A.network('down', 'A is cut off'),
    A.start('cut', 'cat note', 'and waits'),
    job('cut').waits('A is cut off'),
    B.run('cat note', oldValue, 'B is not'),
    job('cut').interrupt(interrupted, 'Ctrl-C works on a hung mount'),
    A.network('up', 'A is back'),
    A.until('cat note', oldValue, 'and answers'),
    B.crash('kill -9'),
    B.run('cat note', fails('ENOTCONN'), 'its process is gone'),
    A.run('cat note', oldValue, 'the other mount has one of its own'),
    B.startAgain('a new process'),
    B.run('cat note', oldValue, 'that asks the same server'),
  ],
})

const wrong = scenario({
  name: 'wrong',
  summary: 'expects what the mode does not do',
  steps: [
    A.run('echo old > note', done, 'the only value there is'),
    B.run('cat note', newValue, 'nobody wrote that'),
    A.run('echo never > note', done, 'it does not come so far'),
  ],
})

const long = scenario({
  name: 'long',
  summary: 'goes on until somebody ends it, with everything broken that can be',
  limitSeconds: 600,
  steps: [
    B.network('down', 'B is cut off'),
    B.start('hung', 'cat note', 'waits for ever'),
    job('hung').waits('for ever', 0.1),
    server.crash('kill -9'),
    A.run('echo begun; (trap "" INT TERM; sleep 1000)', done, 'a command that ends by no polite signal'),
    job('hung').ends(done, 'never'),
  ],
})

const hasty = scenario({
  name: 'hasty',
  summary: 'looks too late, however fast the machine is',
  steps: [
    within(0.1, A.run('sleep 0.2; cat note', newValue, 'nobody wrote that')),
    A.run('echo never > note', done, 'it does not come so far'),
  ],
})

const mixed = scenario({
  name: 'mixed',
  summary: 'a mode for each mount, and the files in one server',
  modes: { A: 'local', B: 'nfs' },
  options: 'actimeo=600',
  steps: [
    A.run('echo old > note', done, 'A is where the files are'),
    B.run('cat note', oldValue, 'B asks the server that has them'),
    A.run('stat -c %U .proteus/status > /dev/null && grep -q "^mode: *local" .proteus/status', done, 'a mode'),
    B.run('grep -q "^mode: *nfs" .proteus/status', done, 'and another one'),
    server.crash('kill -9'),
    A.run('cat note', fails('ENOTCONN'), 'its process was the server'),
    B.start('reader', 'cat note', 'there is nobody to ask'),
    job('reader').waits('a hard mount waits'),
    server.startAgain('on the same port, with the mount beside it'),
    job('reader').ends(oldValue, 'and goes on'),
    A.run('cat note', oldValue, 'A is back'),
    A.crash('kill -9 of the same process'),
    A.startAgain('once more'),
    A.run('echo new > note', done, 'and all is as before'),
    B.run('cat note', newValue, 'an open asks the server'),
  ],
})

export const boardScenarios: readonly Scenario[] = [outage, wrong, long, hasty, mixed]
