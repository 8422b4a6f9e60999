// A peer of the benchmark: a directory shown through npm fuse-native, one asynchronous node:fs call per request, as the
// package's README teaches it. Nothing is cached: each stat asks the daemon, as with bindfs and Proteus.
//
//   node bench/fuse-native-mount.mjs SOURCE TARGET      mounts, prints `ready`, ends at SIGINT or SIGTERM
import fs from 'node:fs'
import { constants } from 'node:os'
import { join, resolve } from 'node:path'
import Fuse from 'fuse-native'

/** fuse-native knows the options of libfuse 2 that it lists; these are the others that the comparison needs. */
class Passthrough extends Fuse {
  _fuseOptions() {
    // big_writes: 128 KiB a request instead of 4. use_ino: inode numbers of the source, so that git and tar recognise
    // files. The timeouts are bindfs's own.
    const more = 'big_writes,use_ino,entry_timeout=0,negative_timeout=0,attr_timeout=0'
    const given = super._fuseOptions()
    return given ? `${given},${more}` : `-o${more}`
  }
}

/** O_ACCMODE: the rest (creating, truncating, where an append goes) the kernel has settled before it opens. */
const ACCESS_MODE = 3

const errno = (error) => (error ? (error.errno ?? -constants.errno.EIO) : 0)

function operations(source) {
  const at = (path) => join(source, path)
  const plain = (done) => (error) => done(errno(error))
  const value = (done) => (error, result) => (error ? done(errno(error)) : done(0, result))
  /** Without a number of bytes fuse-native would take an error for a transfer. */
  const bytes = (done) => (error, count) => done(error ? errno(error) : count)

  return {
    getattr: (path, done) => fs.lstat(at(path), value(done)),
    readdir: (path, done) => fs.readdir(at(path), value(done)),
    readlink: (path, done) => fs.readlink(at(path), value(done)),
    statfs: (path, done) =>
      fs.statfs(at(path), (error, { bsize, blocks, bfree, bavail, files, ffree } = {}) =>
        error
          ? done(errno(error))
          : done(0, { bsize, frsize: bsize, blocks, bfree, bavail, files, ffree, favail: ffree, namemax: 255 }),
      ),

    mkdir: (path, mode, done) => fs.mkdir(at(path), mode, plain(done)),
    rmdir: (path, done) => fs.rmdir(at(path), plain(done)),
    unlink: (path, done) => fs.unlink(at(path), plain(done)),
    rename: (from, to, done) => fs.rename(at(from), at(to), plain(done)),
    link: (from, to, done) => fs.link(at(from), at(to), plain(done)),
    symlink: (content, path, done) => fs.symlink(content, at(path), plain(done)),
    chmod: (path, mode, done) => fs.chmod(at(path), mode & 0o7777, plain(done)),
    chown: (path, uid, gid, done) => fs.lchown(at(path), uid, gid, plain(done)),
    utimens: (path, atimeMs, mtimeMs, done) => fs.lutimes(at(path), atimeMs / 1000, mtimeMs / 1000, plain(done)),
    truncate: (path, size, done) => fs.truncate(at(path), size, plain(done)),
    ftruncate: (_path, fd, size, done) => fs.ftruncate(fd, size, plain(done)),

    create: (path, mode, done) => fs.open(at(path), 'w+', mode & 0o7777, value(done)),
    open: (path, flags, done) => fs.open(at(path), flags & ACCESS_MODE, value(done)),
    read: (_path, fd, buffer, length, position, done) => fs.read(fd, buffer, 0, length, position, bytes(done)),
    write: (_path, fd, buffer, length, position, done) => fs.write(fd, buffer, 0, length, position, bytes(done)),
    fsync: (_path, _dataOnly, fd, done) => fs.fsync(fd, plain(done)),
    flush: (_path, _fd, done) => process.nextTick(done, 0),
    release: (_path, fd, done) => fs.close(fd, plain(done)),
  }
}

function main([source, target]) {
  if (!source || !target) {
    process.stderr.write('usage: node bench/fuse-native-mount.mjs SOURCE TARGET\n')
    process.exitCode = 2
    return
  }
  process.umask(0)
  // `timeout` off: no timer per request.
  const options = {
    timeout: false,
    defaultPermissions: true,
    allowOther: process.getuid() === 0,
    fsname: 'fuse-native',
  }
  const fuse = new Passthrough(target, operations(resolve(source)), options)
  // fuse-native's handles do not keep the event loop alive.
  const alive = setInterval(() => {}, 1 << 30)
  const end = () => fuse.unmount(() => clearInterval(alive))
  fuse.mount((error) => {
    if (error) {
      process.stderr.write(`fuse-native: ${error.message}\n`)
      process.exit(1)
    }
    process.once('SIGINT', end).once('SIGTERM', end)
    process.stdout.write('ready\n')
  })
}

main(process.argv.slice(2))
