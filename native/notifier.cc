// See notifier.h.
#include "notifier.h"

#include <csignal>

Notifier::~Notifier() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

bool Notifier::Push(const uint8_t* message, size_t size, napi_deferred deferred) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (size > kMaxQueuedBytes || queued_bytes_ + Cost(size) > kMaxQueuedBytes) return false;
    queued_bytes_ += Cost(size);
    queue_.push_back({std::vector<uint8_t>(message, message + size), deferred});
  }
  changed_.notify_one();
  if (thread_.joinable()) return true;
  // The thread inherits the signal mask: signals are for the threads that Node prepared for them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread(&Notifier::Run, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}

std::vector<Notifier::Result> Notifier::TakeResults() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(results_, {});
}

std::vector<napi_deferred> Notifier::Stop() {
  std::vector<napi_deferred> left;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const Item& item : queue_) left.push_back(item.deferred);
    queue_.clear();
  }
  changed_.notify_one();
  return left;
}

bool Notifier::Writing() {
  std::lock_guard<std::mutex> lock(mutex_);
  return writing_;
}

void Notifier::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Item item = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    lock.unlock();
    const int error = connection_->Write(item.message.data(), item.message.size());
    lock.lock();
    writing_ = false;
    queued_bytes_ -= Cost(item.message.size());
    results_.push_back({item.deferred, error});
    // Under the lock: once `writing_` is seen to be false, the owner may close the handle.
    uv_async_send(wake_);
  }
}
