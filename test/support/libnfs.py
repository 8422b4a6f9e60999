"""What libnfs can do and its tools do not: libnfs.py overwrite URL TEXT | fill URL-OF-A-NEW-DIRECTORY COUNT"""

import ctypes
import os
import sys

nfs = ctypes.CDLL("libnfs.so.13")


class Url(ctypes.Structure):
    _fields_ = [("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p)]


nfs.nfs_init_context.restype = ctypes.c_void_p
nfs.nfs_parse_url_full.restype = ctypes.POINTER(Url)
nfs.nfs_get_error.restype = ctypes.c_char_p
context = ctypes.c_void_p(nfs.nfs_init_context())


def check(result):
    if result < 0:
        sys.exit(nfs.nfs_get_error(context).decode())


def write(handle, text, offset):
    check(nfs.nfs_pwrite(context, handle, ctypes.c_uint64(offset), ctypes.c_uint64(len(text)), text))


command, url, what = sys.argv[1:]
target = nfs.nfs_parse_url_full(context, url.encode()).contents
check(nfs.nfs_mount(context, target.server, target.path))
handle = ctypes.c_void_p()
if command == "overwrite":
    check(nfs.nfs_open(context, target.file, os.O_WRONLY | os.O_TRUNC, ctypes.byref(handle)))
    write(handle, what.encode(), 0)
    check(nfs.nfs_close(context, handle))
else:
    check(nfs.nfs_mkdir(context, target.file))
    for n in range(int(what)):
        check(nfs.nfs_creat(context, target.file + b"/file%d" % n, 0o644, ctypes.byref(handle)))
        check(nfs.nfs_close(context, handle))
