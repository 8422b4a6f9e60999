"""Random changes of a tree, made on a native directory and on a mount alike: results, errors and trees must be equal.

  fsstress.py --seed N --operations N [--without xattr,exchange,...] [--users] REFERENCE MOUNT [SAME-ON-ANOTHER-MOUNT ...]

With --users a part of the operations is made as other users (root only). Prints one line of JSON: {"ok": true, ...} or the
first difference and the operations before it.
"""
import argparse
import ctypes
import errno
import hashlib
import json
import os
import random
import stat

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
users = [(61001, 61001, [61002]), (61002, 61002, []), (61003, 61003, [61001, 61002])]


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def create(path, flags, mode):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | flags, mode))


def write(path, flags, data):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return hashlib.sha1(os.read(fd, 1 << 20)).hexdigest()
    finally:
        os.close(fd)


def look(path):
    """What must be equal. Sizes and link counts of directories are up to the file system of the reference."""
    st = os.lstat(path)
    return [oct(st.st_mode), st.st_uid, st.st_gid] + ([] if stat.S_ISDIR(st.st_mode) else [st.st_nlink, st.st_size])


class Stress:
    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.users = options.users
        weights = {'create': 5, 'mkdir': 4, 'unlink': 3, 'rmdir': 3, 'rename': 6, 'link': 3, 'symlink': 2, 'write': 4, 'read': 2,
                   'truncate': 2, 'chmod': 4, 'chown': 2, 'utime': 1, 'list': 2, 'look': 3, 'readlink': 1, 'node': 1,
                   'noreplace': 2, 'exchange': 2, 'xattr': 2, 'getxattr': 1}
        without = set(options.without.split(','))
        self.calls, self.weights = zip(*((call, weight) for call, weight in weights.items() if call not in without))

    def path(self):
        """A relative path of one to three names out of a few, so that they meet."""
        return '/'.join(self.random.choice('abcd') for _ in range(self.random.choice([1, 1, 2, 2, 2, 3])))

    def operation(self):
        """A call as (name, function of a root, user)."""
        pick = self.random.choice
        call = self.random.choices(self.calls, self.weights)[0]
        p, q = self.path(), self.path()
        mode = pick([0o777, 0o755, 0o644, 0o600, 0o666, 0o1777, 0o2775, 0o4755, 0o6777, 0o700, 0o444, 0o000])
        number = self.random.randrange(1 << 30)
        data = b'%d' % number * self.random.randrange(200)
        owner = pick([(-1, 61001), (61001, -1), (61002, 61003), (61003, 61001), (-1, 61002), (61001, 61003)])
        flags = pick([0, os.O_EXCL, os.O_TRUNC])
        write_flags = pick([0, os.O_TRUNC, os.O_APPEND])
        node = pick([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG])
        target = pick([q, '../' * p.count('/') + q, 'nowhere/at/all', '/nonexistent'])
        name = 'user.' + pick('xy')
        functions = {
            'create': lambda root: create(root + p, flags, mode),
            'mkdir': lambda root: os.mkdir(root + p, mode),
            'unlink': lambda root: os.unlink(root + p),
            'rmdir': lambda root: os.rmdir(root + p),
            'rename': lambda root: os.rename(root + p, root + q),
            'noreplace': lambda root: renameat2(root + p, root + q, NOREPLACE),
            'exchange': lambda root: renameat2(root + p, root + q, EXCHANGE),
            'link': lambda root: os.link(root + p, root + q, follow_symlinks=False),
            'symlink': lambda root: os.symlink(target, root + p),
            'readlink': lambda root: os.readlink(root + p),
            'write': lambda root: write(root + p, write_flags | os.O_NONBLOCK, data),
            'read': lambda root: read(root + p),
            'truncate': lambda root: os.truncate(root + p, number % 20_000),
            'chmod': lambda root: os.chmod(root + p, mode),
            'chown': lambda root: os.chown(root + p, *owner, follow_symlinks=False),
            'utime': lambda root: os.utime(root + p, ns=(number * 10 ** 9, number * 10 ** 9)),
            'list': lambda root: sorted(os.listdir(root + p)),
            'look': lambda root: look(root + p),
            'node': lambda root: os.mknod(root + p, node | mode),
            'xattr': lambda root: os.setxattr(root + p, name, b'%d' % number),
            'getxattr': lambda root: os.getxattr(root + p, name).decode(),
        }
        details = {'rename': q, 'noreplace': q, 'exchange': q, 'link': q, 'symlink': target, 'chmod': oct(mode), 'mkdir': oct(mode),
                   'create': '%o %o' % (flags, mode), 'chown': owner, 'node': oct(node | mode), 'write': oct(write_flags),
                   'truncate': number % 20_000, 'xattr': name, 'getxattr': name}
        user = pick(users) if self.users and self.random.random() < 0.4 else None
        text = '%s %s %s' % (call, p, details.get(call, ''))
        return text + (' as %d' % user[0] if user else ''), functions[call], user


def attempt(function, root, user):
    """What the call returned, or the name of its errno. Runs with the user's effective ids, as the kernel checks them."""
    try:
        if user:
            os.setgroups(user[2])
            os.setegid(user[1])
            os.seteuid(user[0])
        return function(root)
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        if user:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups([])


def tree(root, with_xattrs):
    """Everything that can be compared of a tree: by path, and which paths are one file."""
    found, files = {}, {}
    for folder, folders, names in os.walk(root):
        for name in sorted(folders + names):
            path = os.path.join(folder, name)
            relative = path[len(root):]
            st = os.lstat(path)
            entry = look(path)
            if not stat.S_ISDIR(st.st_mode):
                entry.append(files.setdefault(st.st_ino, relative))
            if stat.S_ISREG(st.st_mode):
                entry.append(read(path))
            if stat.S_ISLNK(st.st_mode):
                entry.append(os.readlink(path))
            elif with_xattrs:
                entry.append([(name, os.getxattr(path, name).decode()) for name in sorted(os.listxattr(path)) if
                              name.startswith('user.') and not name.startswith('user.proteus.')])
            found[relative] = entry
        folders.sort()
    return found


def wrong_links(root):
    """Directories whose link count is not two and one for each subdirectory."""
    return ['%s: %d links, and %d subdirectories' % (folder, os.stat(folder).st_nlink, len(real))
            for folder, folders, _ in os.walk(root)
            for real in [[name for name in folders if not os.path.islink(os.path.join(folder, name))]]
            if os.stat(folder).st_nlink != 2 + len(real)]


def differences(expected, got):
    return ['%s: expected %s, is %s' % (path, expected.get(path), got.get(path))
            for path in sorted({*expected, *got}) if expected.get(path) != got.get(path)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--operations', type=int, required=True)
    parser.add_argument('--without', default='')
    parser.add_argument('--users', action='store_true')
    parser.add_argument('reference')
    parser.add_argument('mounts', nargs='+')
    options = parser.parse_args()
    stress = Stress(options)
    os.umask(0o022)
    log = []
    errors = 0

    def answer(**what):
        print(json.dumps({**what, 'last': log[-25:]}, indent=1))

    with_xattrs = 'xattr' not in options.without.split(',')
    for step in range(options.operations):
        text, function, user = stress.operation()
        expected = attempt(function, options.reference + '/', user)
        got = attempt(function, stress.random.choice(options.mounts) + '/', user)
        log.append('%d %s: %s' % (step, text, expected))
        errors += isinstance(expected, str) and expected.startswith('E')
        if expected != got:
            return answer(ok=False, wrong='%s: expected %s, got %s' % (text, expected, got))
        if step % 200 == 199 or step == options.operations - 1:
            for mount in options.mounts:
                wrong = differences(tree(options.reference, with_xattrs), tree(mount, with_xattrs)) + wrong_links(mount)
                if wrong:
                    return answer(ok=False, wrong=wrong[:10])
    print(json.dumps({'ok': True, 'operations': options.operations, 'errors': errors}))


if __name__ == '__main__':
    main()
