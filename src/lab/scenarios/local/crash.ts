import { A, B, done, fails, interrupted, job, oldValue, prints, scenario } from '../../vocabulary.ts'

export const crash = scenario({
  name: 'crash',
  summary: 'kill -9 of the serving process: what was acknowledged is there when it is started again',
  steps: [
    A.run('echo old > note', done, 'written and closed, but nobody called fsync'),
    B.run('for i in $(seq 200); do echo $i > file-$i || exit 1; done', done, 'the last of them a moment ago'),
    B.start('holder', "flock note sh -c 'echo locked; exec sleep 1000'", 'a lock'),
    job('holder').prints(prints('locked'), 'held by a program that will outlive the process that serves it'),
    A.crash('no time to write anything down, close anything, or unmount'),
    A.run('cat note', fails('ENOTCONN'), 'nobody is there to answer: Transport endpoint is not connected'),
    B.run('cat note', fails('ENOTCONN'), 'mode local serves all mounts from one process'),
    A.startAgain('the dead mounts are cleaned, the journal is read'),
    B.run('cat note', oldValue, 'an operation is in the journal before it is answered, and so survives the process'),
    A.run('cat file-* | sort -n | uniq | wc -l', prints('200'), 'every one of them'),
    A.run('flock -n note echo free', prints('free'), 'locks are of processes and mounts: they ended with the mount'),
    job('holder').interrupt(interrupted, 'the program itself was never in danger'),
  ],
})
