// Answers a READ from a file without blocking the event loop: what is in the page cache at once, the rest from the
// thread pool.
#pragma once

#include <uv.h>

#include <memory>
#include <vector>

#include "connection.h"

// Page-aligned memory for one reply.
class ReplyBuffer {
 public:
  explicit ReplyBuffer(size_t size);
  size_t size() const { return size_; }
  uint8_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(uint8_t* memory) const;
  };
  size_t size_;
  std::unique_ptr<uint8_t, Free> data_;
};

// Keeps a few buffers, as many as the thread pool has threads.
class ReplyBufferPool {
 public:
  std::unique_ptr<ReplyBuffer> Take(size_t size);
  void Give(std::unique_ptr<ReplyBuffer> buffer);

 private:
  static constexpr size_t kKept = 4;
  static constexpr size_t kMaxKeptSize = 1 << 20;
  std::vector<std::unique_ptr<ReplyBuffer>> free_;
};

struct FileReply {
  static constexpr int64_t kMaxLength = 16 << 20;

  ConnectionPtr connection;
  uint64_t unique;
  int fd;
  int64_t offset;
  size_t length;
  std::unique_ptr<ReplyBuffer> buffer;
  size_t filled = 0;

  // Reads what needs no waiting for the disk. True: that was everything.
  bool ReadCached();
  // Reads the rest, waiting for the disk. Returns 0 or an errno.
  int ReadRest();
  // Returns 0 or the errno of the write to the device.
  int Send(int error) const;
};
