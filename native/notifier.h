// Writes notifications from a thread of its own, in order. An invalidation takes kernel locks that may be held by a
// request which only the event loop can answer: were it written there, both would wait for ever.
#pragma once

#include <node_api.h>
#include <uv.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "connection.h"

class Notifier {
 public:
  struct Result {
    napi_deferred deferred;
    int error;  // 0 or an errno
  };

  // `wake` is signalled whenever there are results, and when the thread has ended. It must outlive the thread.
  Notifier(ConnectionPtr connection, uv_async_t* wake) : connection_(std::move(connection)), wake_(wake) {}
  ~Notifier();

  void Push(std::vector<uint8_t> message, napi_deferred deferred);
  std::vector<Result> TakeResults();

  // Tells the thread to end after the notification it is writing; returns those that will not be written.
  std::vector<napi_deferred> Stop();
  // Whether the thread is inside a write, and so cannot be joined without waiting for the kernel.
  bool Writing();

 private:
  struct Item {
    std::vector<uint8_t> message;
    napi_deferred deferred;
  };

  void Run();

  const ConnectionPtr connection_;
  uv_async_t* const wake_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  std::vector<Result> results_;
  bool writing_ = false;
  bool stopping_ = false;
  std::thread thread_;  // started by the first notification
};
