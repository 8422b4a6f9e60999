// mount(2) and umount2(2) for FUSE; the way through the set-uid helper is in mount_helper.cc.
#include "mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "args.h"
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

// umount2(2) may first write back dirty pages, which this very process has to serve: it must not run on the event loop.
struct Unmounting {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  std::string target;
  bool lazy = false;
  int error = 0;
};

void RunUnmount(napi_env, void* data) {
  auto* job = static_cast<Unmounting*>(data);
  const int flags = UMOUNT_NOFOLLOW | (job->lazy ? MNT_DETACH : 0);
  if (umount2(job->target.c_str(), flags) != 0) job->error = errno;
}

void FinishUnmount(napi_env env, napi_status, void* data) {
  auto* job = static_cast<Unmounting*>(data);
  if (job->error) {
    napi_reject_deferred(env, job->deferred, MakeSystemError(env, job->error, "umount", "'" + job->target + "'"));
  } else {
    napi_value undefined;
    napi_get_undefined(env, &undefined);
    napi_resolve_deferred(env, job->deferred, undefined);
  }
  napi_delete_async_work(env, job->work);
  delete job;
}

napi_value Unmount(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const std::string target = args.String(0);
  const bool lazy = args.Boolean(1);
  if (!args.ok()) return nullptr;
  auto* job = new Unmounting;
  job->target = target;
  job->lazy = lazy;
  napi_value promise, name;
  napi_create_promise(env, &job->deferred, &promise);
  napi_create_string_utf8(env, "proteus:unmount", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, RunUnmount, FinishUnmount, job, &job->work);
  napi_queue_async_work(env, job->work);
  return promise;
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
