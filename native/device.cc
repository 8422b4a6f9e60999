// See device.h. Receiving and lifetime; replies and notifications are in device_replies.cc.
#include "device.h"

#include <poll.h>

#include <cstring>
#include <utility>

#include "errors.h"
#include "scope.h"

namespace {

// So that sockets and timers of the same loop get their turn under a flood of requests.
constexpr int kRequestsPerWakeup = 64;

// How long `Close()` itself waits for a notification in flight, before it leaves the rest to the event loop. It only
// takes as long as the programs need to run on; but when the process exits there may be no event loop any more.
constexpr int kDrainAtOnceMs = 500;

fuse::InHeader HeaderOf(const uint8_t* message) {
  fuse::InHeader header;
  memcpy(&header, message, sizeof header);
  return header;
}

void Release(napi_env env, napi_ref* reference) {
  if (*reference) napi_delete_reference(env, *reference);
  *reference = nullptr;
}

}  // namespace

int Device::Open(napi_env env, int fd, Device** result) {
  uv_loop_t* loop;
  napi_get_uv_event_loop(env, &loop);
  auto* device = new Device(env, fd);
  if (const int error = uv_poll_init(loop, &device->poll_, fd)) {
    delete device;
    return -error;
  }
  uv_async_init(loop, &device->wake_, OnWake);
  uv_unref(reinterpret_cast<uv_handle_t*>(&device->wake_));
  device->poll_.data = device->wake_.data = device;
  device->pins_ = 2;

  napi_value name;
  napi_create_string_utf8(env, "proteus:device", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, nullptr, name, &device->context_);
  napi_add_async_cleanup_hook(env, OnTeardown, device, &device->hook_);
  *result = device;
  return 0;
}

void Device::Bind(napi_value self, napi_value handler, napi_value on_request, napi_value buffer, Bytes reply) {
  bound_ = true;
  napi_create_reference(env_, self, 1, &self_);
  napi_create_reference(env_, handler, 1, &handler_);
  napi_create_reference(env_, on_request, 1, &on_request_);
  napi_create_reference(env_, buffer, 1, &reply_buffer_);
  reply_ = reply;
}

void Device::SetRequestBuffer(napi_value buffer, Bytes bytes) {
  if (!open()) return;
  Release(env_, &request_buffer_);
  napi_create_reference(env_, buffer, 1, &request_buffer_);
  request_ = bytes;
}

int Device::Start() {
  if (state_ != State::kIdle) return 0;
  const int error = uv_poll_start(&poll_, UV_READABLE, OnReadable);
  if (error == 0) state_ = State::kReceiving;
  return -error;
}

void Device::OnReadable(uv_poll_t* poll, int status, int) {
  auto* device = static_cast<Device*>(poll->data);
  if (device->state_ == State::kDraining) {
    device->Drain();
  } else {
    device->Receive(status);
  }
}

void Device::Receive(int status) {
  CallbackScope scope(env_, context_);
  napi_value handler, on_request;
  napi_get_reference_value(env_, handler_, &handler);
  napi_get_reference_value(env_, on_request_, &on_request);
  for (int i = 0; i < kRequestsPerWakeup; i++) {
    const ssize_t length = read(connection_->fd(), request_.data, request_.size);
    if (length < 0) {
      if (errno == EINTR || errno == ENOENT) continue;  // ENOENT: the request was interrupted while it was copied
      if (errno != EAGAIN) return Lost(errno);
      if (status < 0) return Lost(-status);  // libuv gave the descriptor up
      return;
    }
    if (static_cast<size_t>(length) < sizeof(fuse::InHeader)) return Lost(EPROTO);
    const size_t waiting = outstanding_.size();
    if (!Dispatch(handler, on_request, static_cast<size_t>(length))) return;
    // Whoever asked waits now. If nobody else does, there is nobody to ask for more: one read less per request.
    if (waiting == 0 && outstanding_.size() == 1) return;
  }
}

// Handles one request. False: the handler closed the device, or the environment is ending.
bool Device::Dispatch(napi_value handler, napi_value on_request, size_t length) {
  const fuse::InHeader header = HeaderOf(request_.data);
  const bool expects_reply = fuse::ExpectsReply(header.opcode);
  current_ = expects_reply ? header.unique : 0;

  napi_value argument, result;
  uint32_t reply_length = 0;
  napi_value error = nullptr;
  napi_create_uint32(env_, static_cast<uint32_t>(length), &argument);
  if (napi_call_function(env_, handler, on_request, 1, &argument, &result) != napi_ok) {
    error = TakeException();
    if (!error) {  // the environment is being terminated
      Close();
      return false;
    }
  } else if (napi_get_value_uint32(env_, result, &reply_length) != napi_ok || reply_length > reply_.size) {
    error = MakeSystemError(env_, EMSGSIZE, "onRequest", "returned what is not the length of a reply");
  }

  const uint64_t unanswered = current_;
  current_ = 0;
  if (!open()) {
    if (error) Call("onError", error);
    return false;
  }
  if (error) {
    if (unanswered) connection_->WriteError(unanswered, EIO);
    Call("onError", error);
  } else if (reply_length > 0) {
    Sent(header.unique, connection_->Write(reply_.data, reply_length));
  } else if (unanswered) {
    outstanding_.insert(unanswered);
  }
  return open();
}

// The connection is over: 0, or by an errno that is not the mount's end.
void Device::Lost(int error) {
  Close();
  if (error != ENODEV && error != ECONNABORTED) Call("onError", MakeSystemError(env_, error, "read", "'/dev/fuse'"));
  Call("onClose", nullptr);
}

void Device::Close() {
  if (!open()) return;
  std::vector<napi_deferred> unsent;
  if (notifier_) unsent = notifier_->Stop();
  if (!notifier_ || !notifier_->Writing()) {
    Finish();
  } else {
    state_ = State::kDraining;
    for (const uint64_t unique : outstanding_) connection_->WriteError(unique, ECONNABORTED);
    outstanding_.clear();
    if (current_) connection_->WriteError(std::exchange(current_, 0), ECONNABORTED);
    for (int i = 0; i < kDrainAtOnceMs && notifier_->Writing(); i++) {
      Drain();
      pollfd readable{connection_->fd(), POLLIN, 0};
      poll(&readable, 1, 1);
    }
    if (!notifier_->Writing()) {
      Finish();
    } else {
      uv_poll_start(&poll_, UV_READABLE, OnReadable);
    }
  }
  // There is no mount any more that could cache anything: the kernel does not know the object.
  for (napi_deferred deferred : unsent) Settle(deferred, ENOENT);
}

void Device::Drain() {
  for (int i = 0; i < kRequestsPerWakeup; i++) {
    const ssize_t length = read(connection_->fd(), request_.data, request_.size);
    if (length < 0 && (errno == EINTR || errno == ENOENT)) continue;
    if (length < 0 && errno != EAGAIN) uv_poll_stop(&poll_);
    if (length < static_cast<ssize_t>(sizeof(fuse::InHeader))) return;
    const fuse::InHeader header = HeaderOf(request_.data);
    if (fuse::ExpectsReply(header.opcode)) connection_->WriteError(header.unique, ECONNABORTED);
  }
}

void Device::OnWake(uv_async_t* wake) {
  auto* device = static_cast<Device*>(wake->data);
  if (device->teardown_) {
    device->SettleNotifications();
  } else {
    CallbackScope scope(device->env_, device->context_);
    device->SettleNotifications();
  }
  if (device->state_ == State::kDraining && !device->notifier_->Writing()) device->Finish();
}

void Device::Finish() {
  state_ = State::kClosed;
  if (notifier_) SettleNotifications();
  notifier_.reset();
  const auto on_close = [](uv_handle_t* handle) { static_cast<Device*>(handle->data)->Unpin(); };
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), on_close);
  uv_close(reinterpret_cast<uv_handle_t*>(&wake_), on_close);
  connection_.reset();
  for (napi_ref* reference : {&request_buffer_, &reply_buffer_, &on_request_, &self_}) Release(env_, reference);
}

// The loop is done with the device; with it goes what needs the environment.
void Device::Unpin() {
  if (--pins_ > 0) return;
  Release(env_, &handler_);
  napi_async_destroy(env_, context_);
  napi_remove_async_cleanup_hook(hook_);
  if (!bound_) delete this;
}

void Device::Unbind() {
  bound_ = false;
  if (pins_ == 0) delete this;
}

void Device::OnTeardown(napi_async_cleanup_hook_handle, void* data) {
  auto* device = static_cast<Device*>(data);
  device->teardown_ = true;
  device->Close();
}

napi_value Device::TakeException() {
  bool pending = false;
  napi_value error = nullptr;
  napi_is_exception_pending(env_, &pending);
  if (pending) napi_get_and_clear_last_exception(env_, &error);
  return error;
}

// Calls a method of the handler; what it throws is an uncaught exception.
void Device::Call(const char* method, napi_value argument) {
  if (teardown_) return;
  napi_value handler, function, result;
  napi_get_reference_value(env_, handler_, &handler);
  const bool called = napi_get_named_property(env_, handler, method, &function) == napi_ok &&
                      napi_call_function(env_, handler, function, argument ? 1 : 0, &argument, &result) == napi_ok;
  if (called) return;
  if (napi_value error = TakeException()) napi_fatal_exception(env_, error);
}
