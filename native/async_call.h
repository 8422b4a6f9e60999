// A system call that may take long, on a thread of the pool, as a promise.
#pragma once

#include <node_api.h>

#include <functional>
#include <string>

// `call` runs off this thread and returns 0 or an errno. Rejects with a system error that names `syscall` and `detail`.
napi_value RunAsync(napi_env env, const char* syscall, const std::string& detail, std::function<int()> call);
