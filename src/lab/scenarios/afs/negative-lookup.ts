import { A, B, done, fails, newValue, prints, scenario } from '../../vocabulary.ts'

/** Isolated: to look for modules here would list the directory. */
const MISSING = `python3 -I -c '
import json, os
def calls():
    servers = json.load(open(".proteus/status.json"))["details"]["servers"]
    return sum(sum(server["calls"].values()) for server in servers)
before = calls()
missing = sum(not os.path.exists(f"missing{i}") for i in range(1000))
print(missing, "missing,", calls() - before, "calls")'`

export const negativeLookup = scenario({
  name: 'negative-lookup',
  summary: 'B knows without asking that there is no such file, and knows at once when A makes it',
  steps: [
    B.run(
      'ls; cat note',
      fails('ENOENT'),
      'a directory is cached as a file is: B has all of its names, under one promise',
    ),
    B.run(
      MISSING,
      prints('1000 missing, 0 calls'),
      'so a name that is not among them is known to be missing: compilers, which look for headers in many places, ask so',
    ),
    A.run('echo new > note', done, 'before the name is made, the promise of the directory is broken'),
    B.run(
      'cat note',
      newValue,
      'B asks for the names again (an NFS client may believe for a while that there is none)',
    ),
    A.run('rm note', done, 'the same for a name that goes'),
    B.run('cat note', fails('ENOENT'), 'gone for B, too'),
  ],
})
