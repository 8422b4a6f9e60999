// Checked access to the arguments of a native function. The first argument that does not fit throws a TypeError or
// RangeError; later getters then return zeros, so one test of `ok()` after the last getter suffices.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>

struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
};

class Args {
 public:
  Args(napi_env env, napi_callback_info info) : env_(env) {
    napi_get_cb_info(env, info, &count_, values_, &self_, &data_);
  }

  bool ok() const { return ok_; }
  napi_value self() const { return self_; }
  void* data() const { return data_; }
  napi_value operator[](size_t index) const { return values_[index]; }

  // An integer of -2^53 to 2^53.
  int64_t Integer(size_t index);
  // The same, not negative: an offset or a length.
  int64_t Offset(size_t index);
  // 0 to 2^31 - 1: descriptors, flags, ids.
  int32_t Int32(size_t index);
  uint64_t BigUint64(size_t index);
  bool Boolean(size_t index);
  // UTF-8 without NUL bytes, at most `kMaxString` bytes.
  std::string String(size_t index);
  std::string StringProperty(size_t index, const char* name);
  int32_t Int32Property(size_t index, const char* name);
  Bytes Uint8Array(size_t index);
  bool IsUndefined(size_t index) const;
  double* Float64Array(size_t index, size_t length);
  napi_value Function(size_t index);
  napi_value Object(size_t index);

 private:
  static constexpr size_t kMaxArgs = 6;
  static constexpr size_t kMaxString = 64 * 1024;

  void Fail(size_t index, const char* expected);
  napi_value Property(size_t index, const char* name);
  bool ReadString(napi_value value, std::string* text);

  napi_env env_;
  napi_value values_[kMaxArgs];  // napi_get_cb_info fills what was not given with undefined
  size_t count_ = kMaxArgs;
  napi_value self_ = nullptr;
  void* data_ = nullptr;
  bool ok_ = true;
};
