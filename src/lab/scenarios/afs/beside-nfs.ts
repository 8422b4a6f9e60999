import { A, B, done, job, newValue, prints, scenario } from '../../vocabulary.ts'

export const besideNfs = scenario({
  name: 'beside-nfs',
  summary: 'one volume by two protocols, A on NFS and B on AFS: each sees what its own protocol promises',
  modes: { A: 'nfs', B: 'afs' },
  options: 'actimeo=600',
  steps: [
    A.run('echo old > note', done, 'over NFS'),
    B.run('cat note; stat -c %s note', prints('old\n4'), 'over AFS: the whole file, with a callback promise'),
    A.run('echo newer > note', done, 'the NFS server waits for no client of AFS'),
    B.until(
      'stat -c %s note',
      prints('6', 'the new size'),
      'but the volume tells of every change, and the promise is broken a moment later',
    ),
    B.run('cat note', prints('newer'), 'so B fetches the file again'),
    A.run('stat -c %s note', prints('6'), 'A believes the attributes for ten minutes (actimeo=600)'),
    B.run('echo new > note', done, 'close(2) has stored the whole file'),
    A.run('stat -c %s note', prints('6', 'the old size'), 'NFS has no callbacks: nobody tells A'),
    A.run('cat note', newValue, 'its open asks, as always, and sees what B has closed'),
    A.start('holder', "flock note sh -c 'echo locked; read _'", 'a lock, until Enter'),
    job('holder').prints(prints('locked'), 'granted by the lock manager of NFS (NLM)'),
    B.run(
      'flock -n note true || echo busy',
      prints('busy'),
      'locks are the volume’s: SetLock of AFS looks into the same table',
    ),
    job('holder').enter('A lets go'),
    job('holder').ends(done, 'UNLOCK'),
    B.until('flock -n note echo mine', prints('mine'), 'free for B'),
  ],
})
