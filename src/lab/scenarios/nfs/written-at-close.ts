import { A, B, done, job, newValue, oldValue, prints, scenario } from '../../vocabulary.ts'

const nothing = prints('', 'nothing')

const WRITER = `python3 -c '
import os
file = os.open("note", os.O_RDWR)
os.write(file, b"old"); print("written", flush=True); input()
os.fsync(file); print("fsynced", flush=True); input()
os.pwrite(file, b"new", 0); print("written", flush=True); input()
os.close(file)'`

export const writtenAtClose = scenario({
  name: 'written-at-close',
  summary: 'what A writes stays on A until fsync or close',
  options: 'actimeo=0',
  steps: [
    A.run('touch note', done, 'an empty file'),
    A.start('writer', WRITER, 'writes twice; Enter takes it one step further'),
    job('writer').prints(prints('written'), 'write(2) has returned'),
    B.run('cat note', nothing, 'and the server has nothing: A keeps the bytes, to send many of them at once'),
    job('writer').enter('now it calls fsync(2)'),
    job('writer').prints(prints('written\nfsynced'), 'fsync(2) returns when the bytes are safe on the server'),
    B.run('cat note', oldValue, 'so they are there for others'),
    job('writer').enter('it writes again'),
    job('writer').prints(prints('written\nfsynced\nwritten'), 'write(2) has returned again'),
    B.run('cat note', oldValue, 'B asks each time (actimeo=0), but the server cannot know what A keeps'),
    job('writer').enter('now it closes the file'),
    job('writer').ends(done, 'close(2) sends, too, and it is where errors of writing come out'),
    B.run('cat note', newValue, 'closed on A, seen on B'),
  ],
})
