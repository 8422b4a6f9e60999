// Where the data of a run lie. By default a new ext4 with a journal in a loop device with direct I/O: an ext4 without
// a journal passes over recently deleted inodes one by one, which falsifies every creation after the first deletion.
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { missingProgram, mountPoints, ProgramError, run, unmountIfMounted } from './processes.mjs'

/** Sparse: it takes the space of what is written, below 2 GiB. */
const IMAGE_BYTES = 8 * 2 ** 30

/** A temporary folder for mount points and the image. */
export async function makeScratch(cleanup) {
  const scratch = await mkdtemp(join(tmpdir(), 'proteus-bench-'))
  cleanup.defer(async () => {
    const left = mountPoints().filter((target) => target.startsWith(`${scratch}/`))
    if (left.length > 0) throw new Error(`still mounted, so not removed: ${left.join(', ')}`)
    await rm(scratch, { recursive: true, force: true })
  })
  return scratch
}

/**
 * A folder for the data and one phrase that describes it. With `dir` it is a new folder there; otherwise the loop
 * device, or where that cannot be had, the temporary folder (and `warn` says why).
 */
export async function makeDisk({ dir, scratch, keep, cleanup, warn }) {
  if (dir !== undefined) return inFolder(resolve(dir), { keep, cleanup })
  const obstacle = process.getuid() !== 0 ? 'only root can mount one' : missingProgram('mkfs.ext4', 'losetup', 'mount')
  if (obstacle === undefined) return inLoopDevice({ scratch, keep, cleanup, warn })
  warn(`no journalled ext4 of its own for the data: ${obstacle}`)
  return inFolder(tmpdir(), { keep, cleanup })
}

async function inFolder(parent, { keep, cleanup }) {
  const root = await mkdtemp(join(parent, 'proteus-bench-data-'))
  if (!keep) cleanup.defer(() => rm(root, { recursive: true, force: true }))
  const [, type] = (await run(['df', '--output=fstype', root])).trim().split('\n')
  return { root, kept: root, description: `${parent} (${type})` }
}

async function inLoopDevice({ scratch, keep, cleanup, warn }) {
  const folder = keep ? await mkdtemp(join(tmpdir(), 'proteus-bench-data-')) : scratch
  const image = join(folder, 'disk.img')
  const file = await open(image, 'wx', 0o600)
  await file.truncate(IMAGE_BYTES)
  await file.close()
  await run(['mkfs.ext4', '-q', '-F', image])

  const { device, direct } = await attach(image, warn)
  cleanup.defer(() => run(['losetup', '-d', device]))
  const root = join(scratch, 'disk')
  await mkdir(root)
  // Without noinit_itable a kernel thread would write inode tables during the first minutes.
  await run(['mount', '-o', 'noinit_itable', device, root])
  cleanup.defer(() => unmount(root))
  return { root, kept: image, description: `ext4 in a loop device${direct ? ' with direct I/O' : ''}` }
}

async function attach(image, warn) {
  const losetup = (...options) => run(['losetup', '--find', '--show', ...options, image])
  try {
    return { device: (await losetup('--direct-io=on')).trim(), direct: true }
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    warn(`the temporary folder takes no direct I/O, so data are cached twice (TMPDIR names another): ${error.message}`)
    return { device: (await losetup()).trim(), direct: false }
  }
}

async function unmount(root) {
  try {
    await run(['umount', root])
  } catch {
    await unmountIfMounted(root)
  }
}
