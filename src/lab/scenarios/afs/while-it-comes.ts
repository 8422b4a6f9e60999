import { A, B, done, job, matches, prints, scenario } from '../../vocabulary.ts'

const READER = `python3 -c '
import os
file = os.open("big", os.O_RDONLY)
print(len(os.read(file, 65536)), flush=True)
print(len(os.pread(file, 65536, 32000000 - 65536)), flush=True)'`

export const whileItComes = scenario({
  name: 'while-it-comes',
  summary: 'a file is fetched whole, but who reads its beginning does not wait for its end',
  steps: [
    A.run('head -c 32000000 /dev/zero > big', done, '32 MB'),
    B.network('bandwidth=2MB', 'a slow network: the file takes 16 s'),
    B.start('reader', READER, 'reads the beginning, and then the end'),
    job('reader').prints(
      prints('65536', 'the beginning'),
      'the open has asked for the whole file, and what is there can be read',
    ),
    B.run(
      'grep percent: .proteus/status',
      matches(/percent: \d\d?$/m, 'a part of it'),
      '.proteus/status says what is under way, and how much of it is there',
    ),
    job('reader').waits('the end is not there yet, and it cannot be asked for before the rest', 0.5),
    B.network('reset', 'the network is fast again'),
    job('reader').ends(prints('65536\n65536'), 'it comes in its turn'),
    B.run('wc -c < big', prints('32000000'), 'the second time nothing has to come'),
    B.run('grep AFS.FetchData: .proteus/status', matches(/: 1$/m, 'one'), 'the whole file was one call'),
  ],
})
