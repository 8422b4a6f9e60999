#!/usr/bin/env python3
"""What the benchmark does to many files, or to one very often.

    files.py make DIR FOLDERS FILES     make FOLDERS folders of FILES empty files each
    files.py look DIR FOLDERS FILES     stat every one of them
    files.py stat PATH COUNT            stat one path COUNT times; prints how many per second
"""
import os
import sys
import time


def paths(top, folders, files):
    for i in range(int(folders)):
        for j in range(int(files)):
            yield f"{top}/folder-{i:04d}/file-{j:05d}"


def make(top, folders, files):
    for i in range(int(folders)):
        os.mkdir(f"{top}/folder-{i:04d}")
    for path in paths(top, folders, files):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def look(top, folders, files):
    for path in paths(top, folders, files):
        os.stat(path)


def stat(path, count):
    stat, count = os.stat, int(count)
    began = time.perf_counter()
    for _ in range(count):
        stat(path)
    print(count / (time.perf_counter() - began))


if __name__ == "__main__":
    {"make": make, "look": look, "stat": stat}[sys.argv[1]](*sys.argv[2:])
