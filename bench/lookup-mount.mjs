// The other side of bench/lookup.mjs: mounts a file system that answers from constants and lets the kernel keep
// nothing, so that each stat(2) is one LOOKUP round trip through the driver.
//
//   node bench/lookup-mount.mjs TARGET      ends when it is unmounted, or at SIGTERM
import { mount } from '../dist/fuse/mount.js'
import { FsError } from '../dist/posix/errors.js'

const FILE_NODE = 2
const EPOCH = { sec: 0, nsec: 0 }

const attributes = (ino, mode, nlink) => ({
  ino,
  mode,
  nlink,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  blockSize: 4096,
  atime: EPOCH,
  mtime: EPOCH,
  ctime: EPOCH,
  btime: EPOCH,
})

// One request per stat, as with the C loop: the kernel need not ask for the root, too.
const root = { attributes: attributes(1, 0o40755, 2), attributesTtlMs: 1e6 }
const file = { attributes: attributes(FILE_NODE, 0o100644, 1), attributesTtlMs: 0 }
const entry = { node: FILE_NODE, generation: 0, nameTtlMs: 0, ...file }

const refuse = () => {
  throw new FsError('ENOSYS')
}

/** The rest of the contract (src/vfs/filesystem.ts), which this file system refuses. */
const REFUSED = [
  ...['setAttributes', 'readlink', 'makeNode', 'makeDirectory', 'makeSymlink', 'link', 'unlink', 'removeDirectory'],
  ...['rename', 'open', 'create', 'read', 'write', 'flush', 'release', 'fsync'],
  ...['openDirectory', 'readDirectory', 'releaseDirectory', 'fsyncDirectory', 'statfs'],
]

const fileSystem = {
  lookup: (_context, _parent, name) => (name === 'none' ? { node: 0, nameTtlMs: 0 } : entry),
  forget: () => {},
  getAttributes: (_context, node) => (node === FILE_NODE ? file : root),
  ...Object.fromEntries(REFUSED.map((name) => [name, refuse])),
}

const mounted = await mount({
  fileSystem,
  target: process.argv[2],
  driver: 'kernel',
  source: 'bench',
  options: { defaultPermissions: true, allowOther: true },
})
process.once('SIGTERM', () => mounted.unmount())
await mounted.closed
