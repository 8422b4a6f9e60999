// See args.h.
#include "args.h"

#include <cmath>
#include <limits>

namespace {
constexpr double kMaxSafeInteger = 9007199254740991.0;
}

void Args::Fail(size_t index, const char* expected) {
  if (!ok_) return;
  ok_ = false;
  const std::string text = "argument " + std::to_string(index + 1) + " must be " + expected;
  napi_throw_type_error(env_, "ERR_INVALID_ARG_TYPE", text.c_str());
}

int64_t Args::Integer(size_t index) {
  double number;
  if (napi_get_value_double(env_, values_[index], &number) != napi_ok || std::trunc(number) != number ||
      std::fabs(number) > kMaxSafeInteger) {
    Fail(index, "a safe integer");
    return 0;
  }
  return static_cast<int64_t>(number);
}

int64_t Args::Offset(size_t index) {
  const int64_t number = Integer(index);
  if (number >= 0) return number;
  Fail(index, "a safe integer, not negative");
  return 0;
}

int32_t Args::Int32(size_t index) {
  const int64_t number = Offset(index);
  if (number <= std::numeric_limits<int32_t>::max()) return static_cast<int32_t>(number);
  Fail(index, "an integer below 2^31");
  return 0;
}

uint64_t Args::BigUint64(size_t index) {
  uint64_t number;
  bool lossless;
  if (napi_get_value_bigint_uint64(env_, values_[index], &number, &lossless) == napi_ok && lossless) return number;
  Fail(index, "a bigint of 64 bits");
  return 0;
}

bool Args::Boolean(size_t index) {
  bool flag = false;
  if (napi_get_value_bool(env_, values_[index], &flag) != napi_ok) Fail(index, "a boolean");
  return flag;
}

bool Args::ReadString(napi_value value, std::string* text) {
  size_t length;
  if (napi_get_value_string_utf8(env_, value, nullptr, 0, &length) != napi_ok || length > kMaxString) return false;
  text->resize(length);
  napi_get_value_string_utf8(env_, value, text->data(), length + 1, &length);
  return text->find('\0') == std::string::npos;
}

std::string Args::String(size_t index) {
  std::string text;
  if (ok_ && !ReadString(values_[index], &text)) Fail(index, "a string without NUL");
  return text;
}

napi_value Args::Property(size_t index, const char* name) {
  napi_value value = nullptr;
  if (!ok_ || !Object(index)) return nullptr;
  // A getter of the caller may throw: that error is then pending, and ours must not replace it.
  if (napi_get_named_property(env_, values_[index], name, &value) != napi_ok) ok_ = false;
  return value;
}

std::string Args::StringProperty(size_t index, const char* name) {
  std::string text;
  napi_value value = Property(index, name);
  if (value && !ReadString(value, &text)) Fail(index, (std::string("an object whose `") + name + "` is a string").c_str());
  return text;
}

int32_t Args::Int32Property(size_t index, const char* name) {
  double number = 0;
  napi_value value = Property(index, name);
  if (value && (napi_get_value_double(env_, value, &number) != napi_ok || std::trunc(number) != number || number < 0 ||
                number > std::numeric_limits<int32_t>::max())) {
    Fail(index, (std::string("an object whose `") + name + "` is an integer below 2^31").c_str());
    return 0;
  }
  return static_cast<int32_t>(number);
}

Bytes Args::Uint8Array(size_t index) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(env_, values_[index], &type, &length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_uint8_array) {
    return {static_cast<uint8_t*>(data), length};
  }
  Fail(index, "a Uint8Array");
  return {};
}

bool Args::IsUndefined(size_t index) const {
  napi_valuetype type;
  return napi_typeof(env_, values_[index], &type) == napi_ok && type == napi_undefined;
}

double* Args::Float64Array(size_t index, size_t length) {
  napi_typedarray_type type;
  size_t actual;
  void* data;
  if (napi_get_typedarray_info(env_, values_[index], &type, &actual, &data, nullptr, nullptr) == napi_ok &&
      type == napi_float64_array && actual >= length) {
    return static_cast<double*>(data);
  }
  Fail(index, ("a Float64Array of at least " + std::to_string(length)).c_str());
  return nullptr;
}

napi_value Args::Function(size_t index) {
  napi_valuetype type;
  if (napi_typeof(env_, values_[index], &type) == napi_ok && type == napi_function) return values_[index];
  Fail(index, "a function");
  return nullptr;
}

napi_value Args::Object(size_t index) {
  napi_valuetype type;
  if (napi_typeof(env_, values_[index], &type) == napi_ok && type == napi_object) return values_[index];
  Fail(index, "an object");
  return nullptr;
}
