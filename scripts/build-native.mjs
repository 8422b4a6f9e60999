// Builds the native addon (native/) with node-gyp. Does nothing, and prints nothing, if it is newer than its sources.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const native = resolve(dirname(fileURLToPath(import.meta.url)), '../native')
const product = join(native, 'build/Release/proteus.node')

if (!isFresh()) {
  const missing = missingTools()
  if (missing.length > 0) {
    fail(`the native addon needs ${missing.join(', ')}: apt-get install build-essential python3`)
  }
  build()
}

function isFresh() {
  if (!existsSync(product)) return false
  const built = statSync(product).mtimeMs
  return readdirSync(native)
    .filter((name) => /\.(cc|h|gyp)$/.test(name))
    .every((name) => statSync(join(native, name)).mtimeMs < built)
}

/** What a build needs and is not on PATH, by its usual name. */
function missingTools() {
  const missing = []
  if (!find(process.env.CXX?.split(' ')[0] ?? 'g++')) missing.push('a C++ compiler')
  if (!find('make')) missing.push('make')
  if (!find(process.env.PYTHON ?? 'python3')) missing.push('python3')
  return missing
}

function find(program) {
  const candidates = program.includes('/')
    ? [program]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, program))
  return candidates.some((path) => {
    try {
      accessSync(path, constants.X_OK)
      return statSync(path).isFile()
    } catch {
      return false
    }
  })
}

function build() {
  console.error('setup: building the native addon …')
  const [command, ...first] = nodeGyp()
  const args = [...first, 'configure', 'build', '--directory', native, '--jobs', 'max']
  // Headers beside the running node spare the download of them.
  const prefix = resolve(dirname(process.execPath), '..')
  if (existsSync(join(prefix, 'include/node/node.h'))) args.push(`--nodedir=${prefix}`)
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (result.error) fail(`the native addon needs node-gyp, which comes with npm: ${result.error.message}`)
  if (result.status !== 0) {
    process.stderr.write(result.stdout + result.stderr)
    fail('the native addon did not build (see above)')
  }
}

/** The command that runs node-gyp: npm's own copy, else the one on PATH. */
function nodeGyp() {
  const bundled = [
    process.env.npm_config_node_gyp,
    join(dirname(process.execPath), '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js'),
    '/usr/share/nodejs/node-gyp/bin/node-gyp.js',
  ].find((path) => path && existsSync(path))
  return bundled ? [process.execPath, bundled] : ['node-gyp']
}

function fail(message) {
  console.error(`proteus: ${message}`)
  process.exit(1)
}
