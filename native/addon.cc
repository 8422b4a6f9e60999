// The addon's exports. Their contract is src/host/addon.ts.
#include <node_api.h>

#include "device_class.h"
#include "mount.h"
#include "syscalls.h"

NAPI_MODULE_INIT() {
  mounting::Register(env, exports);
  device_class::Register(env, exports);
  syscalls::Register(env, exports);
  return exports;
}
