import { A, B, done, prints, scenario } from '../../vocabulary.ts'

const fetched = 'grep -c AFS.FetchData: .proteus/status || true'

export const clientRestart = scenario({
  name: 'client-restart',
  summary: 'the cache of a client outlives it: after a restart only what has changed is fetched',
  steps: [
    B.run('head -c 8000000 /dev/zero > big; echo old > note', done, 'what B has stored it keeps, too'),
    B.crash('kill -9: no goodbye to the server, and nothing was tidied up'),
    A.run('echo new > note', done, 'whose connection is gone is not waited for'),
    B.startAgain('with the same cache: files, and an index of what they are'),
    B.run('wc -c < big', prints('8000000'), 'promises died with the process, so B asks whether its copy is current'),
    B.run(
      fetched,
      prints('0'),
      'FetchStatus said so: the file was checked against its checksum, and nothing was fetched',
    ),
    B.run('cat note', prints('new', 'the new value'), 'of this one there is a later version'),
    B.run(fetched, prints('1'), 'which had to be fetched'),
  ],
})
