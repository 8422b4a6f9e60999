import { A, B, done, job, prints, scenario, server } from '../../vocabulary.ts'

export const handlesSurvive = scenario({
  name: 'handles-survive',
  summary: 'a file that is open stays open while its server is killed and its name changes',
  steps: [
    A.start(
      'writer',
      'exec 3> note; echo one >&3; echo open; read _; echo two >&3',
      'opens, and writes again after Enter',
    ),
    job('writer').prints(prints('open'), 'A has a file handle: volume, inode, generation, and a seal of the server'),
    B.run('mv note renamed', done, 'the handle says nothing of names'),
    server.crash('what it has in memory is gone'),
    server.startAgain('and there was nothing: a stateless server knows no open files'),
    job('writer').enter('it writes through the handle that it has'),
    job('writer').ends(done, 'the handle itself tells the server which file is meant'),
    B.run('cat renamed', prints('one\ntwo'), 'a restart of the server is a delay, and nothing else'),
  ],
})
