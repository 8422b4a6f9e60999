"""Work that a crash interrupts, and the check of what was acknowledged before it.

  crash.py work --seed N FOLDER LOG     changes FOLDER until something fails; LOG, on another file system, has one line
                                        before and one after each operation
  crash.py verify FOLDER LOG            prints {"ok": true, ...}, or what is not as LOG says

Every operation that was acknowledged must be there, whole. The one that was under way may have happened or not; of a write
any part may have. Operations: names, modes, times, attributes, contents, through descriptors that stay open or not.
"""
import argparse
import copy
import json
import os
import random

NAMES = ['%s%d' % (letter, number) for letter in 'abcdef' for number in range(4)]


class Node:
    def __init__(self, kind, mode=0o755, target=None):
        self.kind, self.mode, self.target = kind, mode, target
        self.content, self.attributes, self.mtime = bytearray(), {}, None


def filling(seed, length):
    return random.Random(seed).randbytes(length)


class Tree:
    """What is there: nodes by path. Hard links share a node."""

    def __init__(self):
        self.nodes = {}

    def apply(self, call, args):
        getattr(self, call)(*args)

    def create(self, path, mode):
        self.nodes[path] = Node('file', mode)

    def mkdir(self, path, mode):
        self.nodes[path] = Node('directory', mode)

    def symlink(self, path, target):
        self.nodes[path] = Node('symlink', 0o777, target)

    def link(self, path, new):
        self.nodes[new] = self.nodes[path]

    def unlink(self, path):
        del self.nodes[path]

    rmdir = unlink

    def rename(self, path, new):
        if self.nodes.get(new) is self.nodes[path]:
            return
        for old in [name for name in self.nodes if name == path or name.startswith(path + '/')]:
            self.nodes[new + old[len(path):]] = self.nodes.pop(old)

    def chmod(self, path, mode):
        self.nodes[path].mode = mode

    def utime(self, path, time):
        self.nodes[path].mtime = time

    def setxattr(self, path, name, value):
        self.nodes[path].attributes[name] = value

    def removexattr(self, path, name):
        del self.nodes[path].attributes[name]

    def write(self, path, offset, length, seed):
        node = self.nodes[path]
        node.mtime = None
        if offset > len(node.content):
            node.content.extend(bytes(offset - len(node.content)))
        node.content[offset:offset + length] = filling(seed, length)

    def truncate(self, path, size):
        node = self.nodes[path]
        node.mtime = None
        node.content[size:] = bytes(max(0, size - len(node.content)))

    def fsync(self, path):
        pass


class Worker:
    def __init__(self, seed, log):
        self.random = random.Random(seed)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.tree = Tree()
        self.open = {}

    def run(self):
        for number in range(1_000_000):
            chosen = self.choose()
            if chosen is None:
                continue
            call, args = chosen
            self.note({'begin': number, 'call': call, 'args': args})
            try:
                getattr(self, call)(*args)
            except OSError as error:
                self.note({'failed': number, 'error': str(error)})
                return
            self.note({'done': number})
            self.tree.apply(call, args)

    def note(self, line):
        os.write(self.log, (json.dumps(line) + '\n').encode())

    def choose(self):
        """The next operation that the tree allows; None: try again."""
        pick = self.random.choice
        nodes = self.tree.nodes
        of = {kind: [path for path, node in nodes.items() if node.kind == kind] for kind in ('file', 'directory', 'symlink')}
        free = pick([''] + [path + '/' for path in of['directory']]) + pick(NAMES)
        path = pick(of['file']) if of['file'] else None
        number = self.random.randrange(1 << 30)
        call = pick(['create'] * 4 + ['write'] * 5 + ['fsync', 'fsync', 'rename', 'rename', 'rename', 'mkdir', 'unlink', 'unlink',
                     'rmdir', 'link', 'symlink', 'chmod', 'utime', 'setxattr', 'setxattr', 'removexattr', 'truncate'])
        if call in ('create', 'mkdir', 'symlink'):
            if free in nodes or free.count('/') > 2:
                return None
            return call, [free, {'create': pick([0o644, 0o600]), 'mkdir': 0o755, 'symlink': 'to/%d' % number}[call]]
        if call == 'rename':
            victims = of['file'] + of['symlink'] + of['directory']
            old = pick(victims) if victims else None
            if old is None or free.startswith(old + '/') or free == old:
                return None
            kinds = {nodes[old].kind, nodes[free].kind} if free in nodes else set()
            if 'directory' in kinds and (kinds != {'directory'} or self.children(free)):
                return None
            return call, [old, free]
        if call == 'rmdir':
            empty = [name for name in of['directory'] if not self.children(name)]
            return (call, [pick(empty)]) if empty else None
        if path is None:
            return None
        if call == 'link':
            return None if free in nodes else (call, [path, free])
        if call == 'removexattr':
            attributes = sorted(nodes[path].attributes)
            return (call, [path, pick(attributes)]) if attributes else None
        more = {'write': [self.random.randrange(30_000), self.random.randrange(1, 20_000), number], 'fsync': [], 'unlink': [],
                'chmod': [pick([0o644, 0o600, 0o755, 0o444])], 'utime': [number * 10 ** 9 + number],
                'setxattr': ['user.' + pick('xyz'), str(number)], 'truncate': [self.random.randrange(30_000)]}[call]
        return call, [path, *more]

    def children(self, path):
        return any(name.startswith(path + '/') for name in self.tree.nodes)

    def descriptor(self, path):
        """Of a file that stays open for a while; a few at a time."""
        node = self.tree.nodes[path]
        if node not in self.open:
            if len(self.open) == 4:
                os.close(self.open.pop(next(iter(self.open))))
            self.open[node] = os.open(path, os.O_RDWR)
        return self.open[node]

    def create(self, path, mode):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def write(self, path, offset, length, seed):
        fd = self.descriptor(path) if seed % 2 else os.open(path, os.O_WRONLY)
        try:
            if os.pwrite(fd, filling(seed, length), offset) != length:
                raise OSError('short write')
        finally:
            if not seed % 2:
                os.close(fd)

    def fsync(self, path):
        os.fsync(self.descriptor(path))

    def truncate(self, path, size):
        os.truncate(path, size)

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def symlink(self, path, target):
        os.symlink(target, path)

    def link(self, path, new):
        os.link(path, new)

    def unlink(self, path):
        os.unlink(path)

    def rmdir(self, path):
        os.rmdir(path)

    def rename(self, path, new):
        os.rename(path, new)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def utime(self, path, time):
        os.utime(path, ns=(time, time))

    def setxattr(self, path, name, value):
        os.setxattr(path, name, value.encode())

    def removexattr(self, path, name):
        os.removexattr(path, name)


def replay(log):
    """The tree as acknowledged, and as it is if the operation under way took place."""
    tree, begun, done = Tree(), None, 0
    with open(log) as lines:
        for line in map(json.loads, lines):
            if 'begin' in line:
                begun = line
            elif 'done' in line:
                tree.apply(begun['call'], begun['args'])
                begun = None
                done += 1
    after = copy.deepcopy(tree)
    if begun:
        after.apply(begun['call'], begun['args'])
    return tree, after, begun, done


def differences(folder, tree, other):
    """Where the folder is not as `tree`; in contents, a byte may also be as in `other`."""
    wrong = []
    found = sorted(os.path.relpath(os.path.join(where, name), folder)
                   for where, folders, files in os.walk(folder) for name in folders + files)
    if found != sorted(tree.nodes):
        lost, extra = sorted(set(tree.nodes) - set(found)), sorted(set(found) - set(tree.nodes))
        return ['names lost: %s, names too many: %s' % (lost, extra)]
    inodes = {}
    for path, node in tree.nodes.items():
        at = os.path.join(folder, path)
        st = os.lstat(at)
        if inodes.setdefault(id(node), st.st_ino) != st.st_ino or list(inodes.values()).count(st.st_ino) != 1:
            wrong.append('%s: links of the wrong file' % path)
        if node.kind == 'symlink':
            if os.readlink(at) != node.target:
                wrong.append('%s: target %s' % (path, os.readlink(at)))
            continue
        if st.st_mode & 0o7777 != node.mode:
            wrong.append('%s: mode %o, not %o' % (path, st.st_mode & 0o7777, node.mode))
        if node.kind == 'directory':
            continue
        if node.mtime not in (None, st.st_mtime_ns):
            wrong.append('%s: mtime %d, not %d' % (path, st.st_mtime_ns, node.mtime))
        names = [name for name in os.listxattr(at) if not name.startswith('user.proteus.')]
        attributes = {name: os.getxattr(at, name).decode() for name in names}
        if attributes != node.attributes:
            wrong.append('%s: attributes %s, not %s' % (path, attributes, node.attributes))
        with open(at, 'rb') as file:
            content = file.read()
        if content != node.content and not is_mixture(content, node.content, other.nodes.get(path)):
            wrong.append('%s: content of %d bytes, not as written (%d bytes)' % (path, len(content), len(node.content)))
    return wrong


def is_mixture(content, before, after):
    """Whether each byte is of one of the two: a write was under way."""
    if after is None or not min(len(before), len(after.content)) <= len(content) <= max(len(before), len(after.content)):
        return False
    longest = max(len(before), len(after.content))
    versions = [bytes(version).ljust(longest, b'\0') for version in (before, after.content)]
    return all(byte in (versions[0][i], versions[1][i]) for i, byte in enumerate(content))


def verify(folder, log):
    before, after, under_way, done = replay(log)
    wrong = differences(folder, before, after)
    if wrong and under_way:
        wrong_too = differences(folder, after, before)
        wrong = wrong_too and ['without the operation under way: %s' % wrong[:5], 'with it: %s' % wrong_too[:5]]
    with open(log) as lines:
        last = lines.read().splitlines()[-20:]
    return {'ok': not wrong, 'done': done, 'under_way': under_way, 'wrong': wrong, 'last': last}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('command', choices=['work', 'verify'])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('folder')
    parser.add_argument('log')
    options = parser.parse_args()
    if options.command == 'work':
        os.chdir(options.folder)  # Not by path: when the mount is gone it would lead to the folder beneath.
        Worker(options.seed, options.log).run()
        print('{}')
    else:
        print(json.dumps(verify(options.folder, options.log)))


if __name__ == '__main__':
    main()
