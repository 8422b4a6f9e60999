import { A, B, done, fails, matches, prints, scenario } from '../../vocabulary.ts'

const ONCE = `python3 -c '
import os
for i in range(12):
    os.mkdir(f"d{i}")
    os.close(os.open(f"f{i}", os.O_CREAT | os.O_EXCL))
    os.rename(f"f{i}", f"g{i}")
    if i % 2: os.unlink(f"g{i}")'`

export const exclusiveCreateOnce = scenario({
  name: 'exclusive-create-once',
  summary: 'over a network that loses and doubles packets, what must happen once happens once',
  options: 'proto=udp,timeo=1',
  limitSeconds: 60,
  steps: [
    A.network('loss=15%,duplicate=30%,reorder=10%', 'calls get lost, or come twice; answers, too'),
    A.run(
      ONCE,
      done,
      'a call whose answer was lost is sent again; the server knows it by its number (xid) and repeats the answer, ' +
        'else mkdir would say “exists”, and rename and unlink “no such file”',
    ),
    A.run('grep ^..retransmissions .proteus/status', matches(/: [1-9]/, 'some'), 'so often the client repeated itself'),
    B.run('ls -d d* | wc -l; ls g* | wc -l', prints('12\n6'), 'each call was executed once, no more and no less'),
    A.run('mkdir d1', fails('EEXIST'), 'a second call of its own is no repetition'),
    A.network('reset', 'the network is well again'),
  ],
})
