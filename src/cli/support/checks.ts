// `proteus doctor`'s judgement: from the facts of a machine to what is well, what is worse than it could be, and what
// is missing, each with how to get it. Pure.
import { STACKED } from '../../serving/stacked.ts'
import type { Machine } from './machine.ts'

export interface Check {
  readonly name: string
  /** `warn`: everything works, but something is slower or lacking. `missing`: nothing can be mounted without it. */
  readonly state: 'ok' | 'warn' | 'missing'
  readonly detail: string
  /** How to get it. */
  readonly fix?: string
}

const NODE_NEEDED = [20, 15] as const
/** Older kernels speak the protocol too, but nobody here has tried them. */
const KERNEL_KNOWN = [5, 4] as const
/** FUSE 7.40: passthrough. */
const KERNEL_PASSTHROUGH = [6, 9] as const
/** FUSE 7.44: all names of a mount are forgotten at once. */
const KERNEL_EPOCHS = [6, 16] as const
/** A file that programs hold open may need a descriptor, and a backing one. */
const OPEN_FILES_WANTED = 16_384

const isAtLeast = (version: string, [major, minor]: readonly [number, number]): boolean => {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  return a > major || (a === major && b >= minor)
}

export function judge(machine: Machine): Check[] {
  return [
    checkPlatform(machine),
    checkNode(machine),
    checkDevice(machine),
    checkKernel(machine),
    checkRights(machine),
    ...checkAddon(machine),
    checkPassthrough(machine),
    checkPortable(machine),
    checkOpenFiles(machine),
  ]
}

function checkPlatform({ platform }: Machine): Check {
  const name = 'Linux'
  if (platform === 'linux') return { name, state: 'ok', detail: 'yes' }
  return { name, state: 'missing', detail: `this is ${platform}`, fix: 'use a Linux machine, virtual or real' }
}

function checkNode({ nodeVersion }: Machine): Check {
  const name = 'Node.js'
  if (isAtLeast(nodeVersion, NODE_NEEDED)) return { name, state: 'ok', detail: nodeVersion }
  const needed = NODE_NEEDED.join('.')
  return { name, state: 'missing', detail: `${nodeVersion} is too old`, fix: `install ${needed} or later: nodejs.org` }
}

function checkDevice({ device }: Machine): Check {
  const name = '/dev/fuse'
  if (device === 'ok') return { name, state: 'ok', detail: 'readable and writable' }
  if (device === 'forbidden') {
    return {
      name,
      state: 'missing',
      detail: 'not for this user',
      fix: 'chmod 666 /dev/fuse as root, as Debian has it; or run as root',
    }
  }
  return {
    name,
    state: 'missing',
    detail: 'not there',
    fix: 'modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN',
  }
}

function checkKernel({ kernelRelease }: Machine): Check {
  const name = 'kernel'
  if (!isAtLeast(kernelRelease, KERNEL_KNOWN)) {
    return {
      name,
      state: 'warn',
      detail: `${kernelRelease} is older than what Proteus is tested on`,
      fix: `${KERNEL_KNOWN.join('.')} or later`,
    }
  }
  const lacks = [
    ...(isAtLeast(kernelRelease, KERNEL_PASSTHROUGH) ? [] : [`passthrough (${KERNEL_PASSTHROUGH.join('.')})`]),
    ...(isAtLeast(kernelRelease, KERNEL_EPOCHS) ? [] : [`name epochs (${KERNEL_EPOCHS.join('.')})`]),
  ]
  if (lacks.length === 0) return { name, state: 'ok', detail: `${kernelRelease}, with passthrough and name epochs` }
  return {
    name,
    state: 'warn',
    detail: `${kernelRelease} works, slower: it lacks ${lacks.join(' and ')}`,
    fix: 'a later kernel',
  }
}

function checkRights({ root, sysAdmin, fusermount }: Machine): Check {
  const name = 'right to mount'
  if (root && sysAdmin) return { name, state: 'ok', detail: 'root' }
  if (root) {
    return {
      name,
      state: 'missing',
      detail: 'root without CAP_SYS_ADMIN',
      fix: 'give the container --cap-add SYS_ADMIN --device /dev/fuse',
    }
  }
  if (fusermount !== undefined) return { name, state: 'ok', detail: `through ${fusermount}` }
  return { name, state: 'missing', detail: 'neither root nor fusermount3', fix: 'apt-get install fuse3' }
}

function checkAddon({ addonError, compiler }: Machine): Check[] {
  if (addonError === undefined) return [{ name: 'native addon', state: 'ok', detail: 'built' }]
  return [
    { name: 'native addon', state: 'missing', detail: addonError, fix: 'npm run build:native' },
    compiler
      ? { name: 'compiler', state: 'ok', detail: 'C++, make and Python' }
      : {
          name: 'compiler',
          state: 'missing',
          detail: 'C++, make or Python is not there',
          fix: 'apt-get install build-essential python3',
        },
  ]
}

function checkPassthrough({ sysAdmin, kernelRelease, data }: Machine): Check {
  const name = 'passthrough'
  const without = 'file content goes through the serving process'
  if (!isAtLeast(kernelRelease, KERNEL_PASSTHROUGH)) {
    return {
      name,
      state: 'warn',
      detail: `the kernel has none: ${without}`,
      fix: `kernel ${KERNEL_PASSTHROUGH.join('.')} or later`,
    }
  }
  if (!sysAdmin) return { name, state: 'warn', detail: `not without CAP_SYS_ADMIN: ${without}`, fix: 'run as root' }
  const stacked = STACKED.get(data.fsType)
  if (stacked !== undefined) {
    return {
      name,
      state: 'warn',
      detail: `${data.path} is on ${stacked}: ${without}`,
      fix: 'choose --data on ext4, XFS, Btrfs or tmpfs',
    }
  }
  return { name, state: 'ok', detail: `the kernel reads and writes the files in ${data.path} itself` }
}

function checkPortable({ libfuse2 }: Machine): Check {
  const name = 'portable driver'
  if (libfuse2) return { name, state: 'ok', detail: 'libfuse2 is there' }
  return { name, state: 'warn', detail: '--driver portable needs libfuse2', fix: 'apt-get install libfuse2' }
}

function checkOpenFiles({ maxOpenFiles }: Machine): Check {
  const name = 'open files'
  const detail = Number.isFinite(maxOpenFiles) ? `at most ${maxOpenFiles}` : 'no limit'
  if (maxOpenFiles >= OPEN_FILES_WANTED) return { name, state: 'ok', detail }
  return {
    name,
    state: 'warn',
    detail: `${detail}: programs may not open more through a mount`,
    fix: `ulimit -Hn ${OPEN_FILES_WANTED}, or LimitNOFILE= of the service`,
  }
}
