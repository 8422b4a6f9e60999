"""Tight loops that race with each other on one or two mounts. Each prints one line of JSON.

replace FILE COUNT TAG    replaces FILE by rename COUNT times, with contents that say of which writer and round they are
read FILE STOP            opens and reads FILE until STOP exists; tells what was wrong
append FILE COUNT TAG     appends COUNT records
count FILE COUNT KIND     adds 1 to the number in FILE under a lock of KIND (fcntl, ofd, flock), COUNT times
claim DIR COUNT TAG       creates DIR/0 … exclusively; tells which ones it got
take DIR COUNT TAG        renames DIR/0 … to names with TAG; tells which ones it got
"""
import fcntl
import json
import os
import struct
import sys


def content(tag, round_number):
    return ('%s%08d\n' % (tag, round_number) * 400).encode()


def replace(file, count, tag):
    for i in range(int(count)):
        temporary = '%s.%s' % (file, tag)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(fd, content(tag, i))
        os.close(fd)
        os.rename(temporary, file)
    return {'replaced': int(count)}


def read(file, stop):
    wrong = {}
    reads = 0
    while not os.path.exists(stop):
        reads += 1
        try:
            fd = os.open(file, os.O_RDONLY)
            got = os.read(fd, 65536)
            size = os.fstat(fd).st_size
            os.close(fd)
            os.stat(file)
            lines = set(got.splitlines())
            if len(lines) != 1 or len(got) != 4000 or size != 4000:
                wrong['torn'] = wrong.get('torn', 0) + 1
        except OSError as error:
            wrong[os.strerror(error.errno)] = wrong.get(os.strerror(error.errno), 0) + 1
    return {'reads': reads, 'wrong': wrong}


def append(file, count, tag):
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for i in range(int(count)):
        record = '%s%06d %s\n' % (tag, i, tag * (i % 90))
        assert os.write(fd, record.encode()) == len(record)
    os.close(fd)
    return {'appended': int(count)}


def locks(kind, fd):
    """Functions that lock and unlock the whole file."""
    if kind == 'flock':
        return lambda: fcntl.flock(fd, fcntl.LOCK_EX), lambda: fcntl.flock(fd, fcntl.LOCK_UN)
    wait = {'fcntl': fcntl.F_SETLKW, 'ofd': 38}[kind]

    def ask(lock_type):
        fcntl.fcntl(fd, wait, struct.pack('hhxxxxqqi4x', lock_type, os.SEEK_SET, 0, 0, 0))
    return lambda: ask(fcntl.F_WRLCK), lambda: ask(fcntl.F_UNLCK)


def count(file, times, kind):
    fd = os.open(file, os.O_RDWR)
    lock, unlock = locks(kind, fd)
    for _ in range(int(times)):
        lock()
        number = int(os.pread(fd, 20, 0) or b'0')
        os.pwrite(fd, b'%d' % (number + 1), 0)
        unlock()
    os.close(fd)
    return {'counted': int(times)}


def attempts(times, attempt):
    got = []
    for i in range(int(times)):
        try:
            attempt(i)
            got.append(i)
        except (FileExistsError, FileNotFoundError):
            pass
    return {'got': got}


def claim(folder, times, tag):
    return attempts(times, lambda i: os.close(os.open('%s/%d' % (folder, i), os.O_WRONLY | os.O_CREAT | os.O_EXCL)))


def take(folder, times, tag):
    return attempts(times, lambda i: os.rename('%s/%d' % (folder, i), '%s/%d.%s' % (folder, i, tag)))


if __name__ == '__main__':
    calls = {call.__name__: call for call in (replace, read, append, count, claim, take)}
    print(json.dumps(calls[sys.argv[1]](*sys.argv[2:])))
