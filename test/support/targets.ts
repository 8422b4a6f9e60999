// The file systems under test. A mode plugs in with one entry in `targets`.
//
// PROTEUS_TARGETS=name,name chooses; without it every target with `byDefault` runs.
// A target's folder lies in the root of the test run (global-setup.ts; PROTEUS_TEST_DIR says where) and goes with it.
import { chmodSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import { type Missing, notRoot } from './capabilities.ts'
import { Daemon, type DaemonCommand } from './daemon.ts'

export interface Mounted {
  /** As many as asked for; all show the same tree. */
  readonly directories: readonly string[]
  /** kill -9 of the daemon; the dead mounts are taken away, unless they are to be found by the next one. */
  crash(options?: { leaveMounts: boolean }): Promise<void>
  /** Starts the daemon again on the same data after `crash`. */
  restart(): Promise<void>
  unmount(): Promise<void>
}

export interface Target {
  readonly name: string
  readonly byDefault: boolean
  readonly missing: Missing
  mount(count: 1 | 2): Promise<Mounted>
}

/** Where a daemon finds its things. */
interface Place {
  readonly folder: string
  readonly data: string
  readonly mounts: readonly string[]
}

const project = fileURLToPath(new URL('../..', import.meta.url))

/** A plain directory: validates the tests themselves. */
const native: Target = {
  name: 'native',
  byDefault: false,
  missing: {
    ...notRoot,
    crash: 'a native directory has no daemon to kill',
    utf8Only: 'a native directory takes any bytes as a name',
  },
  async mount(count) {
    const { data } = makePlace(0)
    const never = () => Promise.reject(new Error('a native directory has no daemon'))
    return { directories: Array(count).fill(data), crash: never, restart: never, unmount: async () => {} }
  },
}

/** A path-based peer: shows that the tests find what they look for. */
const bindfs: Target = {
  name: 'bindfs',
  byDefault: false,
  missing: {
    ...notRoot,
    utf8Only: 'bindfs takes any bytes as a name',
    renameFlags: 'bindfs has no renameat2',
    temporaryFiles: 'bindfs has no O_TMPFILE',
    sharedLocks: 'bindfs keeps locks to one mount',
    unlinkedNodes: 'bindfs works by paths: libfuse hides open files that are unlinked',
  },
  mount: (count) =>
    mountWithDaemons(count, ({ data, mounts }) =>
      mounts.map((mount) => ({
        program: 'bindfs',
        args: ['-f', '-o', 'dev,suid', data, mount],
        mounts: [mount],
        announcesReady: false,
        logs: [],
      })),
    ),
}

const local: Target = {
  name: 'local',
  byDefault: true,
  missing: notRoot,
  mount: (count) => mountWithDaemons(count, proteus('--mode', 'local')),
}

const portableDriver = 'the portable driver'

/** Mode local through npm fuse-native. */
const portable: Target = {
  name: 'portable',
  byDefault: true,
  missing: {
    ...notRoot,
    coherence: `${portableDriver} cannot invalidate what the kernel caches`,
    locks: `${portableDriver} does not see locks`,
    sharedLocks: `${portableDriver} does not see locks`,
    interrupt: `${portableDriver} does not see interrupts`,
    fallocate: `${portableDriver} has no fallocate`,
    holes: `${portableDriver} has no lseek`,
    renameFlags: `${portableDriver} has no renameat2`,
    temporaryFiles: `${portableDriver} has no O_TMPFILE`,
    exactTimes: `${portableDriver} hands on times as JavaScript dates`,
    callers: `${portableDriver} is not told who calls`,
    unlinkedNodes: `${portableDriver} works by paths: libfuse hides open files that are unlinked`,
    sharedMmap: `${portableDriver} uses direct I/O, which has no shared mappings`,
    sync: `${portableDriver} has no syncfs`,
  },
  mount: (count) => mountWithDaemons(count, proteus('--mode', 'local', '--driver', 'portable')),
}

/** What NFS version 3 has no words for. */
const protocol = 'NFS version 3'

const nfs: Target = {
  name: 'nfs',
  byDefault: true,
  missing: {
    ...notRoot,
    coherence: `${protocol} lets attributes, names and data be stale for a while`,
    flockApart: `${protocol} has byte ranges only: flock locks the whole file`,
    xattrs: `${protocol} has no extended attributes`,
    fallocate: `${protocol} has no fallocate`,
    holes: `${protocol} does not tell where holes are`,
    renameFlags: `${protocol} has no renameat2`,
    temporaryFiles: `${protocol} has no files without a name`,
    exactTimes: `${protocol} counts seconds from 1970 on`,
    unlinkedCount: `${protocol} keeps no open files: the name that hides one counts`,
    unlinkedNodes: `${protocol} keeps no open files: clients rename what is unlinked (.nfs…)`,
  },
  mount: (count) => mountWithDaemons(count, proteus('--mode', 'nfs')),
}

const afs: Target = {
  name: 'afs',
  byDefault: true,
  missing: {
    ...notRoot,
    coherence: 'AFS shows other mounts what is written when it is closed',
    xattrs: 'AFS has no extended attributes',
    sharedLocks: 'AFS keeps locks of byte ranges to one mount',
    temporaryFiles: 'AFS has no files without a name',
    sparse: 'AFS stores files whole, and what is not written is zeros',
  },
  mount: (count) => mountWithDaemons(count, proteus('--mode', 'afs')),
}

const targets: readonly Target[] = [native, bindfs, local, portable, nfs, afs]

/** The targets of this run. */
export function chosenTargets(): readonly Target[] {
  const names = process.env.PROTEUS_TARGETS?.split(',').filter(Boolean)
  if (names === undefined || names.length === 0) return targets.filter((target) => target.byDefault)
  return names.map((name) => {
    const target = targets.find((candidate) => candidate.name === name)
    if (target === undefined) throw new Error(`PROTEUS_TARGETS: no target ${name}`)
    return target
  })
}

/** A plain directory, for tests that check themselves on it in every run. */
export const nativeTarget = native

/** A fresh folder on a native file system. */
export function scratch(name: string): string {
  const folder = mkdtempSync(join(inject('testRoot'), `${name}-`))
  chmodSync(folder, 0o755)
  return folder
}

function makePlace(mounts: number): Place {
  const folder = scratch('t')
  const place = { folder, data: join(folder, 'data'), mounts: ['a', 'b'].slice(0, mounts).map((m) => join(folder, m)) }
  for (const path of [place.data, ...place.mounts]) mkdirSync(path)
  return place
}

type PlacedCommand = Omit<DaemonCommand, 'folder'>

function proteus(...options: string[]): (place: Place) => PlacedCommand[] {
  const main = join(project, 'dist/cli/main.js')
  return ({ data, mounts }) => {
    for (const file of [main, join(project, 'native/build/Release/proteus.node')]) {
      if (!existsSync(file)) throw new Error(`${file} is not built: run \`npm run build\``)
    }
    const args = [main, 'up', '--json', ...options, '--data', data, '--mounts', mounts.join(',')]
    return [{ program: process.execPath, args, mounts, announcesReady: true, logs: [join(data, 'log')] }]
  }
}

/** Mounts through child processes, started in the order given and stopped in the other. */
async function mountWithDaemons(count: 1 | 2, commands: (place: Place) => PlacedCommand[]): Promise<Mounted> {
  const place = makePlace(count)
  const daemons: Daemon[] = []
  const crash = async (options?: { leaveMounts: boolean }): Promise<void> => {
    for (const daemon of daemons.splice(0)) await daemon.kill(options)
  }
  const restart = async (): Promise<void> => {
    try {
      for (const command of commands(place)) {
        daemons.push(await Daemon.start({ ...command, folder: place.folder }))
      }
    } catch (error) {
      await crash()
      throw error
    }
  }
  await restart()
  return {
    directories: place.mounts,
    crash,
    restart,
    async unmount() {
      for (const daemon of daemons.splice(0).reverse()) await daemon.stop()
    },
  }
}
