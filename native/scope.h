// Entering JavaScript from a libuv callback: values live until the end of the scope, then ticks and microtasks run.
#pragma once

#include <node_api.h>

class CallbackScope {
 public:
  CallbackScope(napi_env env, napi_async_context context) : env_(env) {
    napi_open_handle_scope(env_, &handles_);
    napi_open_callback_scope(env_, nullptr, context, &callback_);
  }
  ~CallbackScope() {
    napi_close_callback_scope(env_, callback_);
    napi_close_handle_scope(env_, handles_);
  }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;

 private:
  const napi_env env_;
  napi_handle_scope handles_ = nullptr;
  napi_callback_scope callback_ = nullptr;
};
