// A file server that is killed: the victim of store-crash.test.ts. Runs the compiled program.
import { AfsServer } from '../../../../dist/modes/afs/server.js'

const [directory, port] = process.argv.slice(2)
const server = await AfsServer.start({ directory, port: Number(port) })
console.log(server.port)
setInterval(() => {}, 1000)
