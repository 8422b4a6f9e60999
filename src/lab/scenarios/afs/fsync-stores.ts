import { A, B, done, job, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

const nothing = prints('', 'nothing')

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_RDWR)
os.write(file, b"old"); print("written", flush=True); input()
os.fsync(file); print("fsynced", flush=True); input()
os.pwrite(file, b"new", 0); print("written", flush=True); input()
os.close(file)'`

export const fsyncStores = scenario({
  name: 'fsync-stores',
  summary: 'fsync(2) stores the file as close(2) does: others see it before it is closed',
  steps: [
    A.run('touch note', done, 'an empty file'),
    A.start('writer', WRITER, 'writes twice; Enter takes it one step further'),
    job('writer').prints(prints('written'), 'write(2) has returned: the bytes are in the cache of A'),
    B.run('cat note', nothing, 'the server has none of them'),
    job('writer').enter('now it calls fsync(2)'),
    job('writer').prints(prints('written\nfsynced'), 'the whole file is at the server, and on its disk'),
    B.run('cat note', oldValue, 'so B, who was told, fetches it'),
    job('writer').enter('it writes again'),
    job('writer').prints(prints('written\nfsynced\nwritten'), 'write(2) has returned again'),
    B.run('cat note', oldValue, 'that is only on A'),
    job('writer').enter('now it closes the file'),
    job('writer').ends(done, 'which stores what was written since'),
    B.run('cat note', newValue, 'closed on A, seen on B'),
  ],
})
