// mount(2) and umount2(2) for FUSE; the way through the set-uid helper is in mount_helper.cc.
#include "mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "args.h"
#include "async_call.h"
#include "errors.h"

namespace {

napi_value Mount(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const std::string target = args.String(0);
  const std::string source = args.StringProperty(1, "source");
  const std::string subtype = args.StringProperty(1, "subtype");
  const int flags = args.Int32Property(1, "flags");
  const std::string extra = args.StringProperty(1, "data");
  if (!args.ok()) return nullptr;

  struct stat status;
  if (stat(target.c_str(), &status) != 0) return ThrowSystemError(env, errno, "stat", "'" + target + "'");
  // Non-blocking, because the event loop reads it.
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ThrowSystemError(env, errno, "open", "'/dev/fuse'");

  char data[128];
  snprintf(data, sizeof data, "fd=%d,rootmode=%o,user_id=%u,group_id=%u", fd, status.st_mode & S_IFMT, geteuid(),
           getegid());
  const std::string options = extra.empty() ? data : std::string(data) + "," + extra;
  const std::string type = "fuse." + subtype;
  if (mount(source.c_str(), target.c_str(), type.c_str(), static_cast<unsigned long>(flags), options.c_str()) != 0) {
    const int error = errno;
    close(fd);
    return ThrowSystemError(env, error, "mount", "'" + target + "'");
  }
  napi_value result;
  napi_create_int32(env, fd, &result);
  return result;
}

napi_value Unmount(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const std::string target = args.String(0);
  const bool lazy = args.Boolean(1);
  if (!args.ok()) return nullptr;
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  // It may first write back dirty pages, which this very process has to serve: it must not run on the event loop.
  return RunAsync(env, "umount", "'" + target + "'",
                  [target, flags] { return umount2(target.c_str(), flags) == 0 ? 0 : errno; });
}

}  // namespace

void mounting::Register(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"mount", nullptr, Mount, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"mountWithHelper", nullptr, MountWithHelper, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unmount", nullptr, Unmount, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
