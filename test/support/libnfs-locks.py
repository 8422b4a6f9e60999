"""Locks the root of an export with libnfs: libnfs-locks.py URL-OF-A-NAME PORT [COMMAND,CLIENT,OWNER,OFFSET,LENGTH]...

Commands: lock, wait (a lock that may be answered BLOCKED), reclaim, test, unlock, cancel. Prints one answer per line.
"""

import ctypes as c
import select
import sys

nfs = c.CDLL("libnfs.so.13")


class Url(c.Structure):
    _fields_ = [("server", c.c_char_p), ("path", c.c_char_p), ("file", c.c_char_p)]


class Handle(c.Structure):
    _fields_ = [("len", c.c_int), ("val", c.c_void_p)]


class Bytes(c.Structure):
    _fields_ = [("len", c.c_uint), ("val", c.c_void_p)]


class Lock(c.Structure):
    _fields_ = [("caller_name", c.c_char_p), ("fh", Bytes), ("oh", c.c_char_p), ("svid", c.c_uint)] + [
        ("l_offset", c.c_uint64),
        ("l_len", c.c_uint64),
    ]


class LockArguments(c.Structure):
    _fields_ = [("cookie", Bytes), ("block", c.c_int), ("exclusive", c.c_int), ("lock", Lock)] + [
        ("reclaim", c.c_int),
        ("state", c.c_int),
    ]


class CancelArguments(c.Structure):
    _fields_ = [("cookie", Bytes), ("block", c.c_int), ("exclusive", c.c_int), ("lock", Lock)]


class TestArguments(c.Structure):
    _fields_ = [("cookie", Bytes), ("exclusive", c.c_int), ("lock", Lock)]


class UnlockArguments(c.Structure):
    _fields_ = [("cookie", Bytes), ("lock", Lock)]


class Holder(c.Structure):
    _fields_ = [("exclusive", c.c_int), ("svid", c.c_uint), ("oh", c.c_char_p), ("l_offset", c.c_uint64)] + [
        ("l_len", c.c_uint64)
    ]


class Result(c.Structure):
    _fields_ = [("cookie", Bytes), ("status", c.c_int), ("holder", Holder)]


CALLBACK = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_void_p, c.c_void_p)
nfs.nfs_init_context.restype = c.c_void_p
nfs.rpc_init_context.restype = c.c_void_p
nfs.nfs_parse_url_full.restype = c.POINTER(Url)
nfs.nfs_get_rootfh.restype = c.POINTER(Handle)
nfs.nfs_get_error.restype = c.c_char_p
nfs.rpc_get_error.restype = c.c_char_p
nfs.nlmstat4_to_str.restype = c.c_char_p

context = c.c_void_p(nfs.nfs_init_context())
url, port, *commands = sys.argv[1:]
target = nfs.nfs_parse_url_full(context, url.encode()).contents
if nfs.nfs_mount(context, target.server, target.path) < 0:
    sys.exit(nfs.nfs_get_error(context).decode())
root = nfs.nfs_get_rootfh(context).contents
rpc = c.c_void_p(nfs.rpc_init_context())


def finish(start, read):
    """Starts a call and runs libnfs until it is answered; returns what `read` makes of the answer."""
    done = []

    def answered(_rpc, status, data, _private):
        done.append(read(data) if status == 0 else f"status {status}")

    callback = CALLBACK(answered)
    if start(callback) != 0:
        sys.exit(nfs.rpc_get_error(rpc).decode())
    while not done:
        poller = select.poll()
        poller.register(nfs.rpc_get_fd(rpc), nfs.rpc_which_events(rpc))
        for _, events in poller.poll(10_000):
            if nfs.rpc_service(rpc, events) < 0:
                sys.exit(nfs.rpc_get_error(rpc).decode())
    return done[0]


def status(data):
    result = c.cast(data, c.POINTER(Result)).contents
    return nfs.nlmstat4_to_str(result.status).decode()


def status_and_holder(data):
    result = c.cast(data, c.POINTER(Result)).contents
    if result.status != 1:
        return status(data)
    holder = result.holder
    return f"{status(data)} {holder.exclusive} {holder.svid} {holder.oh.decode()} {holder.l_offset} {holder.l_len}"


def opaque(text):
    return Bytes(len(text), c.cast(c.c_char_p(text), c.c_void_p))


def connect(callback):
    return nfs.rpc_connect_port_async(rpc, target.server, int(port), 100021, 4, callback, None)


finish(connect, lambda _: None)
for command in commands:
    what, client, owner, offset, length = command.split(",")
    handle = Bytes(root.len, root.val)
    owner_bytes = client.encode() + b"/" + owner.encode()
    lock = Lock(client.encode(), handle, owner_bytes, int(owner), int(offset), int(length))
    cookie_bytes = command.encode()
    cookie = opaque(cookie_bytes)
    read = status_and_holder if what == "test" else status
    if what in ("lock", "wait", "reclaim"):
        call, args = nfs.rpc_nlm4_lock_async, LockArguments(cookie, what == "wait", 1, lock, what == "reclaim", 1)
    elif what == "test":
        call, args = nfs.rpc_nlm4_test_async, TestArguments(cookie, 1, lock)
    elif what == "cancel":
        call, args = nfs.rpc_nlm4_cancel_async, CancelArguments(cookie, 1, 1, lock)
    else:
        call, args = nfs.rpc_nlm4_unlock_async, UnlockArguments(cookie, lock)
    print(finish(lambda callback: call(rpc, callback, c.byref(args), None), read))
