// Works on a volume until it is killed, and says which operations were done: the victim of volume-crash.test.ts.
// Runs the compiled program, as every process that a test starts.
import { writeSync } from 'node:fs'
import { ROOT_CREDENTIALS } from '../../../dist/posix/credentials.js'
import { Volume } from '../../../dist/store/volume.js'

const [directory, round] = process.argv.slice(2)
const volume = await Volume.open(directory)
const parent = volume.create(1, `round${round}`, { mode: 0o40755 }, ROOT_CREDENTIALS)

for (let n = 0; ; n++) {
  const ino = volume.create(parent, `file${n}`, { mode: 0o100644 }, ROOT_CREDENTIALS)
  const content = volume.openContent(ino, 1, ROOT_CREDENTIALS)
  volume.write(content, Buffer.from(`content ${n}`), 0)
  volume.closeContent(content)
  let name = `file${n}`
  if (n % 3 === 0) {
    volume.rename({ parent, name, newParent: parent, newName: `renamed${n}` }, ROOT_CREDENTIALS)
    name = `renamed${n}`
  }
  if (n % 5 === 0) volume.unlink(parent, name, ROOT_CREDENTIALS)
  writeSync(1, `${n}\n`)
  if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
}
