import { A, B, done, matches, newValue, oldValue, scenario, server } from '../../vocabulary.ts'

const fetched = 'grep AFS.FetchData: .proteus/status'

export const serverRestart = scenario({
  name: 'server-restart',
  summary: 'a server that dies forgets its promises, and says so; what clients keep they need not fetch again',
  steps: [
    A.run('echo old > note', done, 'a file'),
    B.run('cat note', oldValue, 'B fetches it, with a promise'),
    B.run(fetched, matches(/: 1$/m, 'one'), 'the bytes came with one FetchData'),
    server.crash('promises were in its memory: nobody knows any more who has what'),
    B.run('cat note', oldValue, 'B needs no server for what it was promised'),
    server.startAgain('it knows none of its clients'),
    B.until(
      'grep InitCallBackState: .proteus/status',
      matches(/: [2-9]/, 'InitCallBackState, again'),
      'B connects again, and is told that nothing stands which the life before had promised',
    ),
    B.run('cat note', oldValue, 'FetchStatus is enough: the data version is the one that is cached'),
    B.run(fetched, matches(/: 1$/m, 'still one'), 'the cached copy is good, and promised again'),
    A.run('echo new > note', done, 'the server that began anew breaks that new promise'),
    B.run('cat note', newValue, 'as if it had never died'),
    B.run(fetched, matches(/: 2$/m, 'two'), 'the new version had to be fetched'),
  ],
})
