// The JavaScript class FuseDevice. See src/host/addon.ts for its contract.
#pragma once

#include <node_api.h>

namespace device_class {
void Register(napi_env env, napi_value exports);
}
