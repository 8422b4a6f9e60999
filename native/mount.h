// Mounting and unmounting. See src/host/addon.ts for the contracts.
#pragma once

#include <node_api.h>

namespace mounting {
void Register(napi_env env, napi_value exports);
napi_value MountWithHelper(napi_env env, napi_callback_info info);
}
