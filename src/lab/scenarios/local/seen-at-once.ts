import { A, B, done, fails, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

export const seenAtOnce = scenario({
  name: 'seen-at-once',
  summary: 'what happens on A is seen on B at once: content, size, names, and that there is none',
  steps: [
    A.run('echo old > note', done, 'both mounts show one volume'),
    B.run('cat note', oldValue, 'write(2) has returned on A, so every read that starts later sees the bytes: POSIX'),
    A.run('echo new > note; echo more >> note', done, 'B has the old content, size and name in its cache now'),
    B.run(
      'head -n 1 note',
      newValue,
      'both kernels read the same content file, so there is no second copy to be stale',
    ),
    B.run(
      'stat -c %s note',
      prints('9'),
      'attributes are taken back from the other kernels before a change is answered',
    ),
    A.run('mkdir drawer && mv note drawer/', done, 'B knows the file under its old name'),
    B.run('cat note', fails('ENOENT'), 'cached names are taken back, too, before the rename returns'),
    B.run('head -n 1 drawer/note', newValue, 'the file is the same inode under another name'),
    B.run('cat later', fails('ENOENT'), 'from now on the kernel of B may remember that there is no such file'),
    A.run('echo new > later', done, 'a name appears'),
    B.run('cat later', newValue, 'what was remembered as missing is taken back like any other name'),
  ],
})
