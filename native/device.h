// One FUSE connection on the event loop: receives requests, calls the handler, writes its replies.
//
// Lifetime. A Device lives until `Close()` and then until nothing refers to it: neither its JavaScript object nor the
// loop (two handles, and jobs in the thread pool). Closing is at once unless the notification thread is inside a write.
// Such a write may wait for a request that nobody will answer any more, and while it does it keeps the connection alive,
// even that of a process that was killed. So the device then drains: it answers every request with ECONNABORTED, as
// the kernel itself does when a connection ends, until the thread comes back.
#pragma once

#include <node_api.h>
#include <uv.h>

#include <memory>
#include <unordered_set>

#include "args.h"
#include "connection.h"
#include "file_reply.h"
#include "notifier.h"

class Device {
 public:
  // Takes over `fd`, which must be non-blocking. Returns 0 or an errno; `fd` is then closed.
  static int Open(napi_env env, int fd, Device** device);

  // Binds the JavaScript side: its object, its handler, the reply buffer.
  void Bind(napi_value self, napi_value handler, napi_value on_request, napi_value buffer, Bytes reply);
  // The JavaScript object is gone.
  void Unbind();

  bool open() const { return state_ == State::kIdle || state_ == State::kReceiving; }
  size_t reply_size() const { return reply_.size; }
  bool has_request_buffer() const { return request_.data != nullptr; }
  // Only while `open()`.
  const ConnectionPtr& connection() const { return connection_; }

  void SetRequestBuffer(napi_value buffer, Bytes bytes);
  int Start();
  void Reply(Bytes header, Bytes data);
  // Replies with the first `length` bytes of the reply buffer.
  void Answer(size_t length);
  void ReplyFromFile(uint64_t unique, int fd, int64_t offset, size_t length, napi_value done);
  napi_value NotifyLater(Bytes message);
  void Close();

 private:
  enum class State { kIdle, kReceiving, kDraining, kClosed };
  struct FileJob;

  Device(napi_env env, int fd) : env_(env), connection_(std::make_shared<Connection>(fd)) {}
  ~Device() = default;

  // device.cc: receiving and lifetime
  static void OnReadable(uv_poll_t* poll, int status, int events);
  static void OnWake(uv_async_t* wake);
  static void OnTeardown(napi_async_cleanup_hook_handle hook, void* data);
  void Receive(int status);
  bool Dispatch(napi_value handler, napi_value on_request, size_t length);
  void Drain();
  void Lost(int error);
  void Finish();
  void Unpin();
  void Call(const char* method, napi_value argument);
  napi_value TakeException();

  // device_replies.cc: replies and notifications
  void Answered(uint64_t unique);
  void Sent(uint64_t unique, int error);
  void FinishFileReply(FileReply* reply, napi_value done, int error);
  void SettleNotifications();
  void Settle(napi_deferred deferred, int error);

  const napi_env env_;
  ConnectionPtr connection_;
  State state_ = State::kIdle;
  bool teardown_ = false;  // the environment ends: no JavaScript any more
  bool bound_ = false;     // the JavaScript object exists
  int pins_ = 0;           // libuv handles and jobs

  uv_poll_t poll_;
  uv_async_t wake_;
  napi_async_context context_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;

  // Raw pointers into the typed arrays that the references keep alive: asking V8 for them per request is not free.
  Bytes request_, reply_;
  napi_ref request_buffer_ = nullptr, reply_buffer_ = nullptr;
  napi_ref self_ = nullptr, handler_ = nullptr, on_request_ = nullptr;

  // Requests that wait for a later reply, and the one that is being handled right now (0: none, or answered).
  std::unordered_set<uint64_t> outstanding_;
  uint64_t current_ = 0;

  std::unique_ptr<Notifier> notifier_;
  ReplyBufferPool buffers_;
};
