// Works on a whole-file cache until it is killed, and says what was done: the victim of kill.test.ts.
// Runs the compiled program, as every process that a test starts.
import fs, { writeSync } from 'node:fs'
import { WholeFileCache } from '../../../../dist/vfs/whole-files/whole-file-cache.js'

const [directory, round] = process.argv.slice(2)
const cache = await WholeFileCache.open(directory, { limits: { bytes: 4_000_000, files: 40 }, batchMs: 5 })
const say = (...words) => writeSync(1, `${words.join(' ')}\n`)
const contentOf = (key, version) => Buffer.from(`${key}@${version} `.repeat(200 + (version % 7) * 3000))

for (let n = 1; ; n++) {
  const key = `k${(n * 7) % 29}`
  const version = Number(round) * 1_000_000 + n
  let opened
  if (n % 3 === 0) {
    const found = await cache.open(key)
    if (typeof found === 'string') continue
    opened = found
  } else {
    const content = contentOf(key, version)
    const fetch = cache.fetch(key, { version, length: content.length })
    const half = content.length >> 1
    await fetch.write(content.subarray(0, half))
    await fetch.write(content.subarray(half))
    opened = fetch.open()
    fetch.commit()
    if (n % 5 === 0) cache.flush()
    if (n % 5 === 0) say('fetched', key, version)
  }
  if (n % 3 === 0) {
    cache.markDirty(opened.file, { version })
    say('dirty', opened.file.number, version)
    const content = contentOf(key, version)
    fs.ftruncateSync(opened.fd, 0)
    fs.writeSync(opened.fd, content, 0, content.length, 0)
    say('written', opened.file.number, version)
    if (n % 9 !== 0 || cache.dirty().length > 8) {
      say('storing', opened.file.number, version)
      cache.stored(opened.file, { version, status: null, stamp: cache.stampOf(opened.file) })
      say('stored', opened.file.number, version)
    }
  }
  opened.release()
  if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  for (const file of cache.dirty().length > 12 ? cache.dirty() : []) {
    say('discarding', file.number)
    cache.discard(file)
  }
}
