import { A, B, done, job, newValue, prints, scenario } from '../../vocabulary.ts'

const MAP = `python3 -c '
import mmap, time
file = open("page", "r+b")
page = mmap.mmap(file.fileno(), 3)
print(page[:].decode(), flush=True)
while page[:] != b"new": time.sleep(0.01)
print(page[:].decode(), flush=True)
page[:] = b"NEW"'`

export const mapping = scenario({
  name: 'mapping',
  summary: 'a shared memory mapping on A and write(2) on B are one memory',
  needs: ['passthrough'],
  steps: [
    A.run('printf old > page', done, 'a file to map'),
    A.start('mapper', MAP, 'maps it shared and writable, looks until it changes, and changes it, too'),
    job('mapper').prints(prints('old', 'the old value'), 'the page is in memory now'),
    B.run('printf new | dd of=page conv=notrunc status=none', done, 'write(2), through the other mount'),
    job('mapper').ends(prints('old\nnew', 'the old value, then the new'), 'both mounts map and write the same pages'),
    B.run('cat page', prints('NEW'), 'what was stored in the mapping is there for read(2) without msync or close'),
    B.run('printf new > page; cat page', newValue, 'and the file goes on as any other'),
  ],
})
