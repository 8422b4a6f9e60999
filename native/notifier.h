// Writes notifications from a thread of its own, in order. An invalidation takes kernel locks that may be held by a
// request which only the event loop can answer: were it written there, both would wait for ever.
//
// While one waits for such a lock the next ones queue up, in memory that has a limit: beyond it `Push` refuses.
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

  // What the messages that wait, or are being written, may take together, in bytes; some 100,000 names.
  static constexpr size_t kMaxQueuedBytes = 32 << 20;

  // Takes a copy of the message. False: there is no room for it, and nothing was taken.
  bool Push(const uint8_t* message, size_t size, napi_deferred deferred);
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

  static size_t Cost(size_t size) { return sizeof(Item) + size; }
  void Run();

  const ConnectionPtr connection_;
  uv_async_t* const wake_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  size_t queued_bytes_ = 0;
  std::vector<Result> results_;
  bool writing_ = false;
  bool stopping_ = false;
  std::thread thread_;  // started by the first notification
};
