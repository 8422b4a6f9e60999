import { A, B, job, matches, prints, scenario, server } from '../../vocabulary.ts'

const WRITER = `python3 -c '
import os
file = os.open("big", os.O_WRONLY | os.O_CREAT)
for i in range(8): os.write(file, b"x" * 1048576)
print("written", flush=True); input()
os.fsync(file); print("fsynced", flush=True)'`

const UNSTABLE = `python3 -c '
import os
print(os.getxattr("big", "user.proteus.writes").decode())'`

export const serverKilledWhileWriting = scenario({
  name: 'server-killed-while-writing',
  summary: 'the server dies between WRITE and COMMIT, and the client sends again what may be lost',
  options: 'actimeo=600',
  steps: [
    A.start('writer', WRITER, 'writes 8 MiB, and calls fsync(2) after Enter'),
    job('writer').prints(prints('written'), 'so much is sent before close: WRITE, marked UNSTABLE'),
    A.until(
      UNSTABLE,
      matches(/"dirtyBytes":0,"sentBytes":0,"uncommittedBytes":[1-9]/, 'all sent, not committed'),
      'the server has the bytes but need not have them on disk, so the client keeps a copy',
    ),
    server.crash('it may have lost them'),
    job('writer').enter('now it calls fsync(2)'),
    job('writer').waits('the mount is hard: it waits for the server, however long that takes'),
    server.startAgain('on the same port; it knows nothing of its clients, and needs not'),
    job('writer').ends(
      prints('written\nfsynced'),
      'COMMIT is answered with another write verifier: the client sees that the server was restarted, and sends all again',
    ),
    A.run(
      'grep NFS3.WRITE .proteus/status',
      matches(/: (9|[1-9]\d)$/m, 'more than eight'),
      'each call carries 1 MiB: eight were enough, had the server lived',
    ),
    B.run(
      'wc -c < big; tr -d x < big | wc -c',
      prints('8388608\n0', 'all 8 MiB'),
      'nothing that fsync has confirmed is lost',
    ),
  ],
})
