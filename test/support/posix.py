"""Makes system calls for a test: one JSON request a line on standard input, one JSON answer a line on standard output.

A request is {"call": name, "args": [...], "as": {uid, gid, groups, umask}?}; the answer {"value": ...} or
{"errno": "ENOENT", "message": ...}. With "as" the call is made by a child with those credentials.
Bytes are strings of the characters U+0000 to U+00FF. Names are strings; lone surrogates U+DC80 to U+DCFF stand for bytes
that are not UTF-8 (Python's surrogateescape). Descriptors and mappings are numbers of this process.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
for name in ('opendir', 'readdir'):
    getattr(libc, name).restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
AT_FDCWD = -100
aliases = {'ENOTSUP': 'EOPNOTSUPP', 'EDEADLOCK': 'EDEADLK'}  # Two names of one number.
first_descriptor = 3  # After standard input, output and error.
mappings = {}
streams = {}


class Timespec(ctypes.Structure):
    _fields_ = [('sec', ctypes.c_long), ('nsec', ctypes.c_long)]


class Dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_ulong), ('off', ctypes.c_long), ('reclen', ctypes.c_ushort),
                ('type', ctypes.c_ubyte), ('name', ctypes.c_char * 256)]


def check(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def data(text):
    return text.encode('latin-1')


def text(some_bytes):
    return bytes(some_bytes).decode('latin-1')


def path(name):
    return os.fsencode(name)


def stat(of, follow=True, fd=None):
    st = os.stat(of, follow_symlinks=follow) if fd is None else os.fstat(fd)
    fields = {key: getattr(st, 'st_' + key)
              for key in ('mode', 'ino', 'dev', 'nlink', 'uid', 'gid', 'rdev', 'size', 'blocks', 'blksize')}
    for key in ('atime', 'mtime', 'ctime'):
        fields[key + 'Ns'] = str(getattr(st, 'st_' + key + '_ns'))
    return fields


def statvfs(of):
    st = os.statvfs(of)
    return {key: getattr(st, 'f_' + key)
            for key in ('bsize', 'frsize', 'blocks', 'bfree', 'bavail', 'files', 'ffree', 'namemax')}


def utimensat(of, atime, mtime, follow=True):
    """Times in ns as decimal strings, or 'now', or 'omit'."""
    special = {'now': Timespec(0, 0x3FFFFFFF), 'omit': Timespec(0, 0x3FFFFFFE)}
    times = [special[t] if t in special else Timespec(*divmod(int(t), 10 ** 9)) for t in (atime, mtime)]
    check(libc.utimensat(AT_FDCWD, path(of), (Timespec * 2)(*times), 0 if follow else 0x100))


def lock(fd, command, kind, start=0, length=0):
    """fcntl(2) byte-range lock. command: a number F_…; kind F_RDLCK, F_WRLCK, F_UNLCK. F_…GETLK: the conflicting lock."""
    lock_format = 'hhxxxxqqi4x'
    packed = struct.pack(lock_format, kind, os.SEEK_SET, start, length, 0)
    answer = struct.unpack(lock_format, fcntl.fcntl(fd, command, packed))
    return {'kind': answer[0], 'start': answer[2], 'length': answer[3], 'pid': answer[4]}


def copy_range(source, source_offset, target, target_offset, length):
    return os.copy_file_range(source, target, length, source_offset, target_offset)


def new_mapping(fd, length, writable=True, shared=True):
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    mapping = mmap.mmap(fd, length, flags, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    number = max(mappings, default=0) + 1
    mappings[number] = mapping
    return number


def write_mapping(number, offset, what):
    mappings[number][offset:offset + len(what)] = data(what)


def direct_write(fd, offset, what):
    with mmap.mmap(-1, len(what)) as aligned:
        aligned.write(data(what))
        return os.pwritev(fd, [aligned], offset)


def direct_read(fd, offset, length):
    with mmap.mmap(-1, length) as aligned:
        return text(aligned[:os.preadv(fd, [aligned], offset)])


def open_stream(of):
    stream = libc.opendir(path(of))
    if not stream:
        check(-1)
    number = max(streams, default=0) + 1
    streams[number] = stream
    return number


def next_entry(number):
    entry = libc.readdir(ctypes.c_void_p(streams[number]))
    if not entry:
        return None
    found = ctypes.cast(entry, ctypes.POINTER(Dirent)).contents
    return {'name': os.fsdecode(found.name), 'ino': found.ino, 'type': found.type}


def list_all(of):
    """Every entry as readdir(3) gives it, with '.' and '..'."""
    number = open_stream(of)
    try:
        return list(iter(lambda: next_entry(number), None))
    finally:
        close_stream(number)


def close_stream(number):
    check(libc.closedir(ctypes.c_void_p(streams.pop(number))))


def bind(of):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(of)


def connect_through(of):
    """A listener at `of` and a client that connects to it: the bytes that came through."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(of)
        listener.listen()
        client.connect(of)
        client.sendall(b'through')
        client.shutdown(socket.SHUT_WR)
        with listener.accept()[0] as server:
            return text(server.recv(64))


def reset():
    """Forgets what the last test opened."""
    for mapping in mappings.values():
        mapping.close()
    mappings.clear()
    for number in list(streams):
        close_stream(number)
    os.closerange(first_descriptor, 512)
    os.umask(0o022)
    os.chdir('/')


calls = {
    'reset': reset,
    'pid': os.getpid,
    'open': lambda of, flags, mode=0o666: os.open(of, flags, mode),
    'openAt': lambda of, flags, mode, directory: os.open(of, flags, mode, dir_fd=directory),
    'close': os.close,
    'dup': os.dup,
    'read': lambda fd, length: text(os.read(fd, length)),
    'pread': lambda fd, length, offset: text(os.pread(fd, length, offset)),
    'write': lambda fd, what: os.write(fd, data(what)),
    'pwrite': lambda fd, what, offset: os.pwrite(fd, data(what), offset),
    'writev': lambda fd, parts: os.writev(fd, [data(part) for part in parts]),
    'readv': lambda fd, lengths: text(b''.join(scatter(fd, lengths))),
    'directRead': direct_read,
    'directWrite': direct_write,
    'lseek': os.lseek,
    'truncate': os.truncate,
    'ftruncate': os.ftruncate,
    'fallocate': lambda fd, mode, offset, length: check(
        libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))),
    'fsync': os.fsync,
    'fdatasync': os.fdatasync,
    'syncfs': lambda fd: check(libc.syncfs(fd)),
    'copyFileRange': copy_range,
    'sendfile': lambda target, source, offset, length: os.sendfile(target, source, offset, length),
    'ioctl': lambda fd, request: fcntl.ioctl(fd, request),
    'stat': stat,
    'lstat': lambda of: stat(of, follow=False),
    'fstat': lambda fd: stat(None, fd=fd),
    'statvfs': statvfs,
    'access': lambda of, mode: check(libc.access(path(of), mode)),
    'chmod': os.chmod,
    'fchmod': os.fchmod,
    'chown': os.chown,
    'lchown': os.lchown,
    'fchown': os.fchown,
    'utimens': utimensat,
    'umask': os.umask,
    'mkdir': os.mkdir,
    'rmdir': lambda of: check(libc.rmdir(path(of))),
    'chdir': os.chdir,
    'getcwd': os.getcwd,
    'readdir': lambda of: sorted(os.listdir(of)),
    'readdirAll': list_all,
    'opendir': open_stream,
    'readdirNext': next_entry,
    'telldir': lambda number: str(libc.telldir(ctypes.c_void_p(streams[number]))),
    'seekdir': lambda number, where: libc.seekdir(ctypes.c_void_p(streams[number]), ctypes.c_long(int(where))),
    'rewinddir': lambda number: libc.rewinddir(ctypes.c_void_p(streams[number])),
    'unlink': os.unlink,
    'rename': os.rename,
    'renameat2': lambda old, new, flags: check(libc.renameat2(AT_FDCWD, path(old), AT_FDCWD, path(new), flags)),
    'link': lambda old, new: os.link(old, new, follow_symlinks=False),
    'linkDescriptor': lambda fd, new: check(
        libc.linkat(AT_FDCWD, path('/proc/self/fd/%d' % fd), AT_FDCWD, path(new), 0x400)),
    'symlink': os.symlink,
    'readlink': os.readlink,
    'mkfifo': os.mkfifo,
    'mknod': lambda of, mode, major=0, minor=0: os.mknod(of, mode, os.makedev(major, minor)),
    'bind': bind,
    'connectThrough': connect_through,
    'getxattr': lambda of, name, follow=True: text(os.getxattr(of, name, follow_symlinks=follow)),
    'setxattr': lambda of, name, value, flags=0, follow=True: os.setxattr(
        of, name, data(value), flags, follow_symlinks=follow),
    'listxattr': lambda of: sorted(os.listxattr(of)),
    'removexattr': os.removexattr,
    'flock': fcntl.flock,
    'lock': lock,
    'mmap': new_mapping,
    'mmapRead': lambda number, offset, length: text(mappings[number][offset:offset + length]),
    'mmapWrite': write_mapping,
    'msync': lambda number: mappings[number].flush(),
    'munmap': lambda number: mappings.pop(number).close(),
}


def scatter(fd, lengths):
    buffers = [bytearray(length) for length in lengths]
    os.readv(fd, buffers)
    return buffers


def answer_to(request):
    try:
        return {'value': calls[request['call']](*request['args'])}
    except OSError as error:
        name = errno.errorcode.get(error.errno, str(error.errno))
        return {'errno': aliases.get(name, name), 'message': str(error)}
    except Exception as error:  # A fault of the test: it is told, and this process goes on.
        return {'fault': '%s: %s' % (type(error).__name__, error)}


def answer_as(request):
    """The same, made by a child with other credentials."""
    who = request['as']
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(who.get('groups', []))
        os.setresgid(*[who['gid']] * 3)
        os.setresuid(*[who['uid']] * 3)
        os.umask(who.get('umask', 0o022))
        os.write(writer, json.dumps(answer_to(request)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        result = json.loads(answer.read() or '{"fault": "the child died"}')
    os.waitpid(child, 0)
    return result


def interrupted(_signal, _frame):
    raise InterruptedError(errno.EINTR, 'interrupted')


if __name__ == '__main__':
    signal.signal(signal.SIGINT, interrupted)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer_as(request) if 'as' in request else answer_to(request)), flush=True)
