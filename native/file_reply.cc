// See file_reply.h.
#include "file_reply.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace {
constexpr std::align_val_t kPage{4096};
}

ReplyBuffer::ReplyBuffer(size_t size) : size_(size), data_(static_cast<uint8_t*>(operator new(size, kPage))) {}

void ReplyBuffer::Free::operator()(uint8_t* memory) const { operator delete(memory, kPage); }

std::unique_ptr<ReplyBuffer> ReplyBufferPool::Take(size_t size) {
  while (!free_.empty()) {
    std::unique_ptr<ReplyBuffer> buffer = std::move(free_.back());
    free_.pop_back();
    if (buffer->size() >= size) return buffer;
  }
  // Sizes vary little (the kernel's read-ahead): rounding up makes nearly every buffer fit the next read.
  constexpr size_t kUnit = 128 * 1024;
  return std::make_unique<ReplyBuffer>((size + kUnit - 1) / kUnit * kUnit);
}

void ReplyBufferPool::Give(std::unique_ptr<ReplyBuffer> buffer) {
  if (free_.size() < kKept && buffer->size() <= kMaxKeptSize) free_.push_back(std::move(buffer));
}

bool FileReply::ReadCached() {
  while (filled < length) {
    iovec part{buffer->data() + filled, length - filled};
    const ssize_t got = preadv2(fd, &part, 1, offset + static_cast<int64_t>(filled), RWF_NOWAIT);
    if (got < 0) return false;  // not in memory, or a file system without RWF_NOWAIT; real errors show again in ReadRest
    if (got == 0) return true;  // end of file
    filled += static_cast<size_t>(got);
  }
  return true;
}

int FileReply::ReadRest() {
  while (filled < length) {
    const ssize_t got = pread(fd, buffer->data() + filled, length - filled, offset + static_cast<int64_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  return 0;
}

int FileReply::Send(int error) const {
  if (error) return connection->WriteError(unique, error);
  fuse::OutHeader header{static_cast<uint32_t>(sizeof header + filled), 0, unique};
  const iovec parts[] = {{&header, sizeof header}, {buffer->data(), filled}};
  return connection->Write(parts, 2);
}
