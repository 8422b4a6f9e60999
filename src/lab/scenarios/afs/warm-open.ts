import { A, B, done, prints, scenario } from '../../vocabulary.ts'

/** Isolated: to look for modules here would list the directory. */
const WARM = `python3 -I -c '
import json, os
def calls():
    servers = json.load(open(".proteus/status.json"))["details"]["servers"]
    return sum(sum(server["calls"].values()) for server in servers)
before = calls()
for i in range(1000):
    os.stat("note")
    with open("note", "rb") as file: assert len(file.read()) == 100000
    assert os.listdir("drawer") == ["small"]
print(calls() - before, "calls")'`

export const warmOpen = scenario({
  name: 'warm-open',
  summary: 'with a promise, stat, open, read and ls ask nobody: a thousand times, and not one call',
  steps: [
    A.run('head -c 100000 /dev/zero > note; mkdir drawer; touch drawer/small', done, 'a file and a directory'),
    B.run(
      'wc -c < note; ls drawer',
      prints('100000\nsmall'),
      'B fetches the file, whole, and the names of the directory',
    ),
    B.run(
      WARM,
      prints('0 calls'),
      'the counters in .proteus/status.json are as before: what is promised need not be asked for (NFS asks at each open)',
    ),
    B.network('down', 'even cut off from the server'),
    B.run('wc -c < note', prints('100000'), 'it is the disk of B that is read'),
    B.network('up', 'the network is well again'),
  ],
})
