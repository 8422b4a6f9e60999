import { A, B, done, fails, prints, scenario } from '../../vocabulary.ts'

const as = (uid: number, command: string) => `setpriv --reuid=${uid} --regid=${uid} --clear-groups ${command}`

export const whoeverYouSay = scenario({
  name: 'whoever-you-say',
  summary: 'AUTH_SYS: the server believes whatever user the client names',
  needs: ['root'],
  steps: [
    A.run('chmod 1777 .', done, 'a directory for everybody'),
    A.run(
      as(1000, "sh -c 'umask 077; echo secret > diary'"),
      done,
      'user 1000 keeps a diary that nobody else may read',
    ),
    A.run('stat -c "%u %A" diary', prints('1000 -rw-------'), 'the server knows the owner as a number'),
    A.run(as(1001, 'cat diary'), fails('EACCES'), 'the bits are checked, and so user 1001 is refused'),
    B.run(
      as(1000, 'cat diary'),
      prints('secret'),
      'root on another client just calls itself 1000: each call names its user, and nothing proves it',
    ),
    B.run(
      as(1000, 'rm diary'),
      done,
      'so an NFS export is as safe as root on every client that may mount it, and the network between them',
    ),
  ],
})
