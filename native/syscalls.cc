// See syscalls.h. Each is one call into the kernel on the calling thread: they act on metadata or on extents, or are
// asked for by a caller that chose to wait.
#include "syscalls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "args.h"
#include "async_call.h"
#include "errors.h"

namespace {

napi_value Number(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value Utimens(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  timespec times[2];
  for (int i = 0; i < 2; i++) {
    times[i].tv_sec = args.Integer(1 + 2 * i);
    times[i].tv_nsec = args.Int32(2 + 2 * i);
  }
  if (!args.ok()) return nullptr;
  if (futimens(fd, times) != 0) return ThrowSystemError(env, errno, "futimens");
  return nullptr;
}

// Asked for every attribute of every passthrough file: the result goes into the caller's array, nothing is allocated.
napi_value Fstat(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  double* into = args.Float64Array(1, 10);
  if (!args.ok()) return nullptr;
  struct stat status;
  if (fstat(fd, &status) != 0) return ThrowSystemError(env, errno, "fstat");
  into[0] = static_cast<double>(status.st_size);
  into[1] = static_cast<double>(status.st_blocks);
  into[2] = static_cast<double>(status.st_atim.tv_sec);
  into[3] = static_cast<double>(status.st_atim.tv_nsec);
  into[4] = static_cast<double>(status.st_mtim.tv_sec);
  into[5] = static_cast<double>(status.st_mtim.tv_nsec);
  into[6] = static_cast<double>(status.st_ctim.tv_sec);
  into[7] = static_cast<double>(status.st_ctim.tv_nsec);
  into[8] = static_cast<double>(status.st_nlink);
  into[9] = static_cast<double>(status.st_mode);
  return nullptr;
}

napi_value Fallocate(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  const int mode = args.Int32(1);
  const off_t offset = args.Offset(2);
  const off_t length = args.Offset(3);
  if (!args.ok()) return nullptr;
  int result;
  do {
    result = fallocate(fd, mode, offset, length);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return ThrowSystemError(env, errno, "fallocate");
  return nullptr;
}

napi_value Seek(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  const off_t offset = args.Offset(1);
  const int whence = args.Int32(2);
  if (!args.ok()) return nullptr;
  const off_t result = lseek(fd, offset, whence);
  if (result < 0) return ThrowSystemError(env, errno, "lseek");
  return Number(env, result);
}

napi_value CopyFileRange(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int from = args.Int32(0);
  loff_t from_offset = args.Offset(1);
  const int to = args.Int32(2);
  loff_t to_offset = args.Offset(3);
  const size_t length = static_cast<size_t>(args.Offset(4));
  if (!args.ok()) return nullptr;
  ssize_t result;
  do {
    result = copy_file_range(from, &from_offset, to, &to_offset, length, 0);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return ThrowSystemError(env, errno, "copy_file_range");
  return Number(env, result);
}

// Reads what is in the page cache, and never waits for the device. What the kernel or the file system will not do that
// way counts as not there: whoever reads it then hears of errors.
napi_value ReadCached(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  const Bytes into = args.Uint8Array(1);
  const off_t offset = args.Offset(2);
  if (!args.ok()) return nullptr;
  size_t filled = 0;
  while (filled < into.size) {
    iovec part{into.data + filled, into.size - filled};
    const ssize_t got = preadv2(fd, &part, 1, offset + static_cast<off_t>(filled), RWF_NOWAIT);
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
  }
  return Number(env, static_cast<int64_t>(filled));
}

napi_value Clone(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int from = args.Int32(0);
  const int to = args.Int32(1);
  if (!args.ok()) return nullptr;
  if (ioctl(to, FICLONE, from) != 0) return ThrowSystemError(env, errno, "ioctl FICLONE");
  return nullptr;
}

// A read lease is granted only while nobody, in any process and through any mapping, can write. It is given back at
// once. An opener that comes between the two calls is signalled to us, and SIGIO, the default, would kill the process;
// SIGURG is ignored by default.
napi_value HasWriters(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  if (!args.ok()) return nullptr;
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return ThrowSystemError(env, errno, "fcntl F_SETSIG");
  // A read lease is refused to one's own writable descriptor; a write lease is granted to it if it is the only one.
  const bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
  bool writers = false;
  if (fcntl(fd, F_SETLEASE, writable ? F_WRLCK : F_RDLCK) != 0) {
    if (errno != EAGAIN) return ThrowSystemError(env, errno, "fcntl F_SETLEASE");
    writers = true;
  } else {
    fcntl(fd, F_SETLEASE, F_UNLCK);
  }
  napi_value result;
  napi_get_boolean(env, writers, &result);
  return result;
}

napi_value Syncfs(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  if (!args.ok()) return nullptr;
  return RunAsync(env, "syncfs", {}, [fd] { return syncfs(fd) == 0 ? 0 : errno; });
}

// Node has no getxattr. The kernel finds the file by its path and checks the caller's rights to it.
napi_value GetXattr(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const std::string path = args.String(0);
  const std::string name = args.String(1);
  if (!args.ok()) return nullptr;
  std::vector<char> value(XATTR_SIZE_MAX);
  const ssize_t length = getxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (length < 0) return ThrowSystemError(env, errno, "getxattr");
  napi_value buffer;
  napi_create_buffer_copy(env, static_cast<size_t>(length), value.data(), nullptr, &buffer);
  return buffer;
}

// Sends what the socket takes at once. An error is left to whoever sends next: 0, nothing was sent.
napi_value TrySend(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  const Bytes bytes = args.Uint8Array(1);
  if (!args.ok()) return nullptr;
  const ssize_t sent = send(fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
  napi_value result;
  napi_create_uint32(env, sent < 0 ? 0 : static_cast<uint32_t>(sent), &result);
  return result;
}

}  // namespace

void syscalls::Register(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"utimens", nullptr, Utimens, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"fstat", nullptr, Fstat, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"fallocate", nullptr, Fallocate, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"seek", nullptr, Seek, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"copyFileRange", nullptr, CopyFileRange, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"readCached", nullptr, ReadCached, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"clone", nullptr, Clone, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"hasWriters", nullptr, HasWriters, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"getXattr", nullptr, GetXattr, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"trySend", nullptr, TrySend, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"syncfs", nullptr, Syncfs, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
