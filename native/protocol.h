// The little of the FUSE kernel protocol (linux/fuse.h, 7.40) that the addon itself needs. Everything else is spoken
// in TypeScript. Defined here because installed headers are often older than the running kernel.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace fuse {

struct InHeader {  // fuse_in_header
  uint32_t len;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t total_extlen;
  uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);

struct OutHeader {  // fuse_out_header
  uint32_t len;
  int32_t error;  // 0 or a negative errno
  uint64_t unique;
};
static_assert(sizeof(OutHeader) == 16);

struct BackingMap {  // fuse_backing_map
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
static_assert(sizeof(BackingMap) == 16);

constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);  // FUSE_DEV_IOC_BACKING_OPEN
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);   // FUSE_DEV_IOC_BACKING_CLOSE

// read(2) of the device wants at least this much room (FUSE_MIN_READ_BUFFER).
constexpr size_t kMinReadBuffer = 8192;

// Whether the kernel waits for a reply to this opcode.
constexpr bool ExpectsReply(uint32_t opcode) {
  constexpr uint32_t kForget = 2, kInterrupt = 36, kNotifyReply = 41, kBatchForget = 42;
  return opcode != kForget && opcode != kInterrupt && opcode != kNotifyReply && opcode != kBatchForget;
}

}  // namespace fuse
