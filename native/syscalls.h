// System calls on descriptors that Node's own modules lack. See src/host/addon.ts for their contracts.
#pragma once

#include <node_api.h>

namespace syscalls {
void Register(napi_env env, napi_value exports);
}
