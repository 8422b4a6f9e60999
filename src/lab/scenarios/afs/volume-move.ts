import { A, B, done, job, matches, prints, scenario } from '../../vocabulary.ts'

/** Another file server, beside the lab's own. */
const SECOND = `cell=$(python3 -I -c 'import os; print(os.getxattr(".", "user.proteus.cell_server").decode())')
  exec proteus serve afs --data "\${A%/a}/second" --join "$cell"`

/** Where it listens, as it has registered itself. */
const MOVE = `second=$(sed -n 's|.*afs://\\([^/]*\\)/.*|\\1|p' "\${A%/a}/second.log")
  proteus afs move home "$second" --server .`

/** A hundred small files, again and again into another directory. */
const UNPACK = `for i in 1 2 3 4 5 6 7 8; do mkdir home/$i; tar xf files.tar -C home/$i; echo $i; done`

export const volumeMove = scenario({
  name: 'volume-move',
  summary: 'a volume moves to another file server while tar unpacks into it, and tar notices nothing',
  limitSeconds: 60,
  steps: [
    A.run(
      'proteus afs create home --server . && proteus afs mountpoint home home',
      done,
      'a volume, and a place where it is seen',
    ),
    A.run(
      'mkdir s; for i in $(seq 100); do echo $i > s/$i; done; tar cf files.tar -C s .',
      done,
      'a hundred small files in an archive',
    ),
    A.start('second', `(${SECOND}) 2>&1 | tee "\${A%/a}/second.log"`, 'a second file server joins the cell'),
    job('second').prints(matches(/afs:/, 'its URL'), 'it has told the first one, which knows where all volumes are'),
    B.start('tar', UNPACK, 'unpacks into the volume'),
    job('tar').prints(matches(/^1\n/, 'the first round'), 'it is at work'),
    A.run(MOVE, done, 'the volume is copied while it is used; in the end calls wait for a moment (VBUSY)'),
    job('tar').ends(
      prints('1\n2\n3\n4\n5\n6\n7\n8'),
      'no error: the old server says VMOVED, B asks where it is now, and goes on there',
    ),
    A.run('find home -type f | wc -l', prints('800'), 'all files are there, also for A'),
    A.run(
      "proteus info home/8/100 | awk '/^server/ { at = $2 } /^cell_server/ { first = $2 } END { print at == first }'",
      prints('0'),
      'and they are not where root.cell is',
    ),
    job('second').interrupt({ kind: 'either', of: [done, { kind: 'interrupted' }] }, 'the second server ends'),
  ],
})
