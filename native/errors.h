// System errors as JavaScript Errors with `code`, `errno` (positive) and `syscall`, in the wording of Node's own.
#pragma once

#include <node_api.h>

#include <string>

// `detail` is appended to the message: a path, or what a helper program said.
napi_value MakeSystemError(napi_env env, int error, const char* syscall, const std::string& detail = {});

// Throws it. Returns nullptr, so that a native function can `return ThrowSystemError(...)`.
napi_value ThrowSystemError(napi_env env, int error, const char* syscall, const std::string& detail = {});
