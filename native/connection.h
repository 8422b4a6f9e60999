// The open /dev/fuse descriptor. Shared by the event loop, the notification thread and the thread pool, and closed when
// the last of them lets go, so that nobody writes to a number that meanwhile names another file.
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "protocol.h"

class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }

  // The kernel takes a message in one write or not at all. Returns 0 or an errno.
  int Write(const void* message, size_t length) const {
    ssize_t written;
    do {
      written = write(fd_, message, length);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? errno : 0;
  }

  int Write(const iovec* parts, int count) const {
    ssize_t written;
    do {
      written = writev(fd_, parts, count);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? errno : 0;
  }

  // Answers a request with an error (a positive errno).
  int WriteError(uint64_t unique, int error) const {
    const fuse::OutHeader header{sizeof header, -error, unique};
    return Write(&header, sizeof header);
  }

 private:
  const int fd_;
};

using ConnectionPtr = std::shared_ptr<const Connection>;
