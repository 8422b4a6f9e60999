import { A, B, done, job, newValue, oldValue, prints, scenario, within } from '../../vocabulary.ts'

const READER = `python3 -c '
import os, time
file = os.open("note", os.O_RDONLY)
text = lambda: os.pread(file, 3, 0).decode()
print(text(), flush=True)
input()
print(text(), flush=True)
while text() != "new": time.sleep(0.1)
print("new at last", flush=True)'`

export const staleOpenFile = scenario({
  name: 'stale-open-file',
  summary: 'a program that has a file open reads old bytes for a while, although others see the new ones',
  options: 'actimeo=3',
  steps: [
    A.run('printf old > note', done, 'the first content'),
    B.start('reader', READER, 'opens the file once, and reads it again and again'),
    job('reader').prints(oldValue, 'the page is in the cache of B, the attributes are good for 3 s'),
    A.run('printf new > note; cat note', newValue, 'written and closed'),
    job('reader').enter('it reads the same bytes again'),
    within(
      3,
      job('reader').prints(prints('old\nold', 'the old value again'), 'between open and close nothing is promised'),
    ),
    job('reader').ends(
      prints('old\nold\nnew at last', 'the new value in the end'),
      'of a file that is open the attributes are asked for when they run out; what is found to have changed is dropped',
    ),
  ],
})
