import { A, B, done, matches, prints, scenario, within } from '../../vocabulary.ts'

/** Isolated: to look for modules here would list the directory, and so ask the server. */
const WHY = `python3 -I -c '
import json, os
cache = json.loads(os.getxattr("note", "user.proteus.cache"))
print("seen:", cache["seen"]["size"], "bytes, at", cache["validatedAt"])
print("until:", cache["validUntil"])
print("why:", cache["why"])'`

export const whyStale = scenario({
  name: 'why-stale',
  summary: 'each file tells why it may be stale, and until when',
  options: 'actimeo=3',
  steps: [
    A.run('printf old > note', done, 'a file of three bytes'),
    B.run('stat -c %s note', prints('3'), 'B asks the server, and believes the answer for 3 s'),
    A.run('printf longer > note', done, 'six bytes now; B does not hear of it'),
    within(3, B.run('stat -c %s note', prints('3', 'the old size'), 'stale; but is it a defect, or as promised?')),
    within(
      3,
      B.run(
        WHY,
        matches(/seen: 3 bytes.*\nuntil: .*\nwhy: believed for 3 s/, 'three bytes, believed'),
        'user.proteus.cache tells what was seen when, and until when nobody will ask',
      ),
    ),
    B.until('stat -c %s note', prints('6', 'the new size'), 'that moment has come, so B has asked'),
    B.run(
      WHY,
      matches(/seen: 6 bytes.*\nuntil: /, 'six bytes, believed'),
      'and the new answer is good for another 3 s',
    ),
  ],
})
