// See errors.h.
#include "errors.h"

#include <uv.h>

#include <cstring>

namespace {

// libuv knows most names; glibc knows the rest (EDQUOT, ESTALE, ...).
std::string ErrorName(int error) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
  if (const char* name = strerrorname_np(error)) return name;
#endif
  char name[64];
  return uv_err_name_r(-error, name, sizeof name);
}

}  // namespace

napi_value MakeSystemError(napi_env env, int error, const char* syscall, const std::string& detail) {
  const std::string name = ErrorName(error);
  std::string text = name + ": " + strerror(error) + ", " + syscall;
  if (!detail.empty()) text += " " + detail;

  napi_value code, message, result, number, call;
  napi_create_string_utf8(env, name.c_str(), name.size(), &code);
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_error(env, code, message, &result);
  napi_create_int32(env, error, &number);
  napi_set_named_property(env, result, "errno", number);
  napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &call);
  napi_set_named_property(env, result, "syscall", call);
  return result;
}

napi_value ThrowSystemError(napi_env env, int error, const char* syscall, const std::string& detail) {
  napi_throw(env, MakeSystemError(env, error, syscall, detail));
  return nullptr;
}
