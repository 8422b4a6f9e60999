// The systems that are compared. Each shows a fresh folder of the data disk, as `mounts` (two views of the same
// files), and is ended by `end`, which leaves no mount and no process.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemon, missingProgram, placed, unmountIfMounted } from './processes.mjs'
import { missingSshfs, startSshfs } from './sshfs.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const cli = here('../dist/cli/main.js')

/**
 * By name: `missing()` says in one line why it cannot be measured here; `start` gets a fresh folder for the data, two
 * empty folders to mount on, the placement of its processes, and the run's context { signal, cleanup }.
 */
const systems = {
  native: {
    missing: () => undefined,
    async start({ data }) {
      return { mounts: [data, data], end: async () => {} }
    },
  },

  local: proteus('local'),
  nfs: proteus('nfs'),
  afs: proteus('afs'),

  bindfs: {
    missing: () => missingDevice() ?? missingProgram('bindfs'),
    async start({ data, targets, placement, context }) {
      const daemons = targets.map(
        (target) => new Daemon(placed(placement, ['bindfs', '-f', '-o', 'big_writes', data, target])),
      )
      const end = endLater(context, daemons, targets)
      for (const [at, daemon] of daemons.entries()) await daemon.mounted(targets[at], context)
      return { mounts: targets, pid: daemons[0].pid, end }
    },
  },

  'fuse-native': {
    missing: () => missingDevice() ?? missingProgram('fusermount'),
    async start({ data, targets, placement, context }) {
      const program = here('fuse-native-mount.mjs')
      const daemons = targets.map((target) => new Daemon(placed(placement, [process.execPath, program, data, target])))
      const end = endLater(context, daemons, targets)
      for (const daemon of daemons) await daemon.line((line) => line === 'ready' || undefined, context)
      return { mounts: targets, pid: daemons[0].pid, end }
    },
  },

  sshfs: {
    missing: () => missingDevice() ?? missingSshfs(),
    async start({ data, targets, placement, context }) {
      const { server, clients } = await startSshfs({ data, targets, folder: `${targets[0]}-ssh`, placement, context })
      const end = endLater(context, [...clients, server], targets)
      for (const [at, client] of clients.entries()) await client.mounted(targets[at], context)
      return { mounts: targets, pid: clients[0].pid, end }
    },
  },
}

/** Ours, in one of its modes. */
function proteus(mode) {
  return {
    missing: () => missingDevice() ?? (existsSync(cli) ? undefined : 'it is not built: npm run build'),
    async start({ data, targets, placement, context }) {
      const command = [process.execPath, cli, 'up', '--mode', mode, '--data', data, '--mounts', targets.join(',')]
      const daemon = new Daemon(placed(placement, [...command, '--json']), { endSignal: 'SIGINT' })
      const end = endLater(context, [daemon], targets)
      const ready = await daemon.line(readyEvent, context)
      return { mounts: targets, pid: ready.pid ?? daemon.pid, end }
    },
  }
}

export const systemNames = Object.keys(systems)

/** Why this system cannot be measured here, or undefined. */
export const missing = (name) => systems[name].missing()

/** Starts a system on the new folders `<place.data>/<run>` and `<place.scratch>/<run>-a`, `-b`. */
export async function startSystem(name, { run, placement, place, context }) {
  const data = join(place.data, run)
  const targets = ['a', 'b'].map((side) => join(place.scratch, `${run}-${side}`))
  for (const folder of [data, ...targets]) await mkdir(folder)
  const started = await systems[name].start({ data, targets, placement, context })
  return { data, ...started }
}

function missingDevice() {
  return existsSync('/dev/fuse') ? undefined : '/dev/fuse is missing: modprobe fuse'
}

/** `proteus up --json` prints one event per line. */
function readyEvent(line) {
  try {
    const event = JSON.parse(line)
    return event.event === 'ready' ? event : undefined
  } catch {
    return undefined
  }
}

function endLater({ cleanup }, daemons, targets) {
  return cleanup.defer(async () => {
    await Promise.all(daemons.map((daemon) => daemon.end()))
    for (const target of targets) await unmountIfMounted(target)
  })
}
