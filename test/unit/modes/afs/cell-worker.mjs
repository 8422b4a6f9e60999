// A file server that kills itself before a step of its work: the victim of cell-crash.test.ts. Runs the compiled program.
import { AfsServer } from '../../../../dist/modes/afs/server.js'

const [directory, port, join = '', killAt = ''] = process.argv.slice(2)
const server = await AfsServer.start({
  ...{ directory, port: Number(port) },
  ...(join === '' ? {} : { join }),
  onStep: (operation, step) => {
    if (`${operation} ${step}` === killAt) process.kill(process.pid, 'SIGKILL')
  },
  onError: (error) => console.error(error.message),
})
console.log(server.address)
setInterval(() => {}, 1000)
