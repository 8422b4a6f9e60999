#!/usr/bin/env node
// Entry of `proteus`.
import { EXIT } from './exit.ts'
import { run } from './program.ts'

// `proteus trace DIR | head`: when the reader has enough, so have we. What has something to take away does that first.
let hasReader = true
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EIO') return
  if (error.code !== 'EPIPE') throw error
  if (!hasReader) return
  hasReader = false
  if (process.listenerCount('SIGTERM') === 0) process.exit(0)
  process.emit('SIGTERM')
})
// EIO: the terminal was closed. What SIGHUP began must go on to its end, if without an audience.
process.stderr.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
})

const exitCode = await run(process.argv.slice(2))
// A command that found something not well has said so in `process.exitCode` itself.
if (exitCode !== EXIT.ok) process.exitCode = exitCode
