"""Random operations on one file against a model in memory, in the manner of fsx.

  fsx.py --seed N --operations N [--without punch,zero,...] [--size BYTES] FILE [THE-SAME-FILE-ON-ANOTHER-MOUNT ...]

Each operation goes to the next path in turn at random. After every change the size is checked, after every read the bytes,
and all of it at the end and now and then. Prints one line of JSON: {"ok": true, ...}, or what was wrong with the last
operations. Exit code 0 in both cases; anything else is a fault of this script.
"""
import argparse
import ctypes
import json
import mmap
import os
import random

libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
PAGE = 4096


class Wrong(Exception):
    pass


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Exerciser:
    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.paths = options.files
        self.limit = options.size
        self.model = bytearray()
        self.log = []
        os.close(os.open(self.paths[0], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
        self.descriptors = [os.open(path, os.O_RDWR) for path in self.paths]
        without = set(options.without.split(','))
        weights = {'read': 4, 'write': 5, 'append': 2, 'truncate': 2, 'map_read': 3, 'map_write': 3, 'punch': 2, 'zero': 2,
                   'allocate': 1, 'reopen': 2, 'copy': 2, 'seek': 1, 'sync': 1, 'check': 1}
        self.choices = [(call, weight) for call, weight in weights.items() if call not in without]

    def run(self, operations):
        calls, weights = zip(*self.choices)
        for step in range(operations):
            call = self.random.choices(calls, weights)[0]
            self.which = self.random.randrange(len(self.paths))
            self.fd = self.descriptors[self.which]
            getattr(self, call)()
            size = os.fstat(self.descriptors[self.random.randrange(len(self.paths))]).st_size
            if size != len(self.model):
                raise Wrong('size is %d, not %d' % (size, len(self.model)))
        for self.which, self.fd in enumerate(self.descriptors):
            self.check()

    def note(self, call, *details):
        self.log.append('%d %s(%s) on %d' % (len(self.log), call, ', '.join(map(str, details)), self.which))

    def compare(self, got, offset, how):
        expected = bytes(self.model[offset:offset + len(got)])
        if got != expected:
            at = next(i for i, (x, y) in enumerate(zip(got, expected)) if x != y)
            raise Wrong('%s: byte %d is %d, not %d' % (how, offset + at, got[at], expected[at]))

    def range(self, end):
        """An offset below `end`, now and then at the edge of a page, and a length."""
        offset = self.random.randrange(max(1, end))
        length = self.random.choice([1, 7, 511, PAGE, PAGE + 1, 20_000, 70_000, 140_000])
        if self.random.random() < 0.3:
            offset -= offset % PAGE
        return offset, min(self.random.randint(1, length), self.limit - offset)

    def bytes(self, length):
        return bytes([self.random.randrange(1, 256)]) * (length // 2) + self.random.randbytes(length - length // 2)

    def put(self, offset, data):
        if offset > len(self.model):
            self.model.extend(bytes(offset - len(self.model)))
        self.model[offset:offset + len(data)] = data

    def read(self):
        offset, length = self.range(len(self.model) + 100)
        self.note('read', offset, length)
        got = os.pread(self.fd, length, offset)
        if len(got) != max(0, min(length, len(self.model) - offset)):
            raise Wrong('read returned %d bytes' % len(got))
        self.compare(got, offset, 'read')

    def write(self):
        offset, length = self.range(min(self.limit, len(self.model) * 2 + PAGE))
        self.note('write', offset, length)
        data = self.bytes(length)
        if os.pwrite(self.fd, data, offset) != length:
            raise Wrong('short write')
        self.put(offset, data)

    def append(self):
        length = min(self.random.randint(1, 9000), self.limit - len(self.model))
        self.note('append', length)
        data = self.bytes(length)
        fd = os.open(self.paths[self.which], os.O_WRONLY | os.O_APPEND)
        if os.write(fd, data) != length:
            raise Wrong('short append')
        os.close(fd)
        self.put(len(self.model), data)

    def truncate(self):
        size = self.random.choice([0, self.random.randint(0, len(self.model)), self.random.randint(0, self.limit),
                                   self.random.randint(0, len(self.model))])
        by_path = self.random.random() < 0.5
        self.note('truncate', size, 'path' if by_path else 'descriptor')
        if by_path:
            os.truncate(self.paths[self.which], size)
        else:
            os.ftruncate(self.fd, size)
        if size < len(self.model):
            del self.model[size:]
        else:
            self.put(size, b'')

    def mapping(self, protection):
        return mmap.mmap(self.fd, len(self.model), mmap.MAP_SHARED, protection)

    def map_read(self):
        if not self.model:
            return
        offset, length = self.range(len(self.model))
        self.note('map_read', offset, length)
        with self.mapping(mmap.PROT_READ) as mapping:
            self.compare(mapping[offset:offset + length], offset, 'mapping')

    def map_write(self):
        if not self.model:
            return
        offset, length = self.range(len(self.model))
        length = min(length, len(self.model) - offset)
        self.note('map_write', offset, length)
        data = self.bytes(length)
        with self.mapping(mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
            mapping[offset:offset + length] = data
            if self.random.random() < 0.3:
                mapping.flush()
        self.put(offset, data)

    def punch(self):
        offset, length = self.range(len(self.model) + PAGE)
        if length < 1:
            return
        self.note('punch', offset, length)
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
        self.blank(offset, length)

    def zero(self):
        offset, length = self.range(len(self.model) + PAGE)
        if length < 1:
            return
        keep = self.random.random() < 0.5
        self.note('zero', offset, length, keep)
        fallocate(self.fd, ZERO_RANGE | (KEEP_SIZE if keep else 0), offset, length)
        if not keep and offset + length > len(self.model):
            self.put(offset + length, b'')
        self.blank(offset, length)

    def blank(self, offset, length):
        inside = max(0, min(length, len(self.model) - offset))
        if inside:
            self.model[offset:offset + inside] = bytes(inside)

    def allocate(self):
        offset, length = self.range(len(self.model) + PAGE)
        if length < 1:
            return
        self.note('allocate', offset, length)
        fallocate(self.fd, 0, offset, length)
        if offset + length > len(self.model):
            self.put(offset + length, b'')

    def copy(self):
        """copy_file_range within the file, where the ranges do not overlap."""
        half = len(self.model) // 2
        if half < 2:
            return
        source, length = self.range(half)
        length = min(length, half - source)
        target = self.random.randint(half, len(self.model))
        length = min(length, self.limit - target)
        if length < 1:
            return
        self.note('copy', source, target, length)
        os.fstat(self.fd)  # As every program does that copies: the kernel takes the size that it last heard of for the end.
        done = 0
        while done < length:
            copied = os.copy_file_range(self.fd, self.fd, length - done, source + done, target + done)
            if copied == 0:
                raise Wrong('copied %d bytes and no more' % done)
            done += copied
        self.put(target, bytes(self.model[source:source + length]))

    def seek(self):
        """Where there is said to be a hole there must be zeros."""
        if not self.model:
            return
        offset = self.random.randrange(len(self.model))
        self.note('seek', offset)
        hole = os.lseek(self.fd, offset, os.SEEK_HOLE)
        try:
            data = os.lseek(self.fd, hole, os.SEEK_DATA)
        except OSError:
            data = len(self.model)
        if not offset <= hole <= len(self.model):
            raise Wrong('hole at %d' % hole)
        if any(self.model[hole:data]):
            raise Wrong('a hole from %d to %d with data in it' % (hole, data))

    def reopen(self):
        self.note('reopen')
        os.close(self.fd)
        self.descriptors[self.which] = self.fd = os.open(self.paths[self.which], os.O_RDWR)

    def sync(self):
        self.note('sync')
        os.fsync(self.fd)

    def check(self):
        self.note('check')
        self.compare(os.pread(self.fd, self.limit * 2, 0), 0, 'whole file')
        if os.stat(self.paths[self.which]).st_size != len(self.model):
            raise Wrong('stat has another size')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--operations', type=int, required=True)
    parser.add_argument('--without', default='')
    parser.add_argument('--size', type=int, default=300_000)
    parser.add_argument('files', nargs='+')
    options = parser.parse_args()
    exerciser = Exerciser(options)
    try:
        exerciser.run(options.operations)
        print(json.dumps({'ok': True, 'operations': len(exerciser.log)}))
    except (Wrong, OSError) as error:
        print(json.dumps({'ok': False, 'wrong': str(error), 'last': exerciser.log[-30:]}, indent=1))


if __name__ == '__main__':
    main()
