// Makes a checkout ready before `npm start`, `npm test` and `npm run bench`: installs packages, builds the addon and
// the TypeScript, each only when it is missing or older than what it is made from; then says what the machine lacks.
// Plain JavaScript without dependencies: nothing is installed yet when it runs.
import { spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  readdirSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const NODE_NEEDED = [20, 15]

const say = (text) => console.error(`setup: ${text}`)

function fail(text) {
  say(text)
  process.exit(1)
}

/** Modification time in milliseconds; 0 if it is not there. */
function modified(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** The latest modification in a folder. Folders count too: their time changes when a file is removed. */
function newest(path) {
  if (!statSync(join(root, path)).isDirectory()) return modified(path)
  return Math.max(modified(path), ...readdirSync(join(root, path)).map((name) => newest(`${path}/${name}`)))
}

/** Runs npm with its output shown. */
function npm(...args) {
  return spawnSync('npm', args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0
}

function onPath(program) {
  return (process.env.PATH ?? '')
    .split(':')
    .some((directory) => directory !== '' && existsSync(join(directory, program)))
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > NODE_NEEDED[0] || (major === NODE_NEEDED[0] && minor >= NODE_NEEDED[1])) return
  fail(`Node.js ${process.versions.node} is too old: install ${NODE_NEEDED.join('.')} or later (nodejs.org)`)
}

function install() {
  // npm writes this file last, when everything is in place.
  const installed = modified('node_modules/.package-lock.json')
  if (installed > 0 && installed >= modified('package-lock.json')) return
  say('installing packages (npm ci), a few minutes if they must be compiled …')
  if (npm('ci', '--no-audit', '--no-fund')) return
  fail('npm ci failed; if it could not compile: apt-get install build-essential python3')
}

function buildTypeScript() {
  const stamp = 'dist/.built'
  const sources = Math.max(
    newest('src'),
    ...['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map(modified),
  )
  if (modified(stamp) >= sources) return
  say('compiling TypeScript …')
  const started = new Date()
  if (!npm('run', '--silent', 'build:ts')) fail('the TypeScript does not compile: see above')
  // As of the start: a file that was changed meanwhile is compiled again next time.
  writeFileSync(join(root, stamp), '')
  utimesSync(join(root, stamp), started, started)
}

/** Makes `npx proteus` this checkout's command, and never a package of that name. */
function linkCommand() {
  const link = join(root, 'node_modules/.bin/proteus')
  chmodSync(join(root, 'dist/cli/main.js'), 0o755)
  if (!existsSync(link)) symlinkSync('../../dist/cli/main.js', link)
}

/** What a mount needs from the machine. Not having it stops nobody here: `proteus doctor` says more. */
function checkMachine() {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    const there = existsSync('/dev/fuse')
    say(
      there
        ? 'no access to /dev/fuse, so nothing can be mounted: run as root, or `chmod 666 /dev/fuse` as Debian has it'
        : 'there is no /dev/fuse, so nothing can be mounted: `modprobe fuse`; in a container `--device /dev/fuse --cap-add SYS_ADMIN`',
    )
  }
  if (process.geteuid?.() !== 0 && !onPath('fusermount3'))
    say('without root, mounting needs fusermount3: apt-get install fuse3')
}

checkNode()
install()
// Builds only if the addon is older than its sources.
await import('./build-native.mjs')
buildTypeScript()
linkCommand()
checkMachine()
