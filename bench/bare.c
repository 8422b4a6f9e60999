// The yardstick of the benchmarks: the least that a FUSE daemon can do. A loop on /dev/fuse that reads a request,
// answers it from constants and reads the next; what it reaches per second is what the kernel allows one thread.
//
//   cc -O2 -o bare bench/bare.c && ./bare DIR [SPIN_US]
//
// Mounts itself on DIR (as root) and ends when DIR is unmounted. Every name in the root except `none` is an empty file.
// Nothing may be cached (validity 0), so each stat(2) by a program is one LOOKUP round trip. With SPIN_US it polls for
// that many microseconds after the last request before it sleeps, as a daemon that shuns wake-ups would.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, MAX_WRITE = 128 * 1024, FILE_NODE = 2 };

struct reply {
  struct fuse_out_header header;
  union {
    struct fuse_init_out init;
    struct fuse_entry_out entry;
    struct fuse_attr_out attr;
  } body;
};

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int mount_on(const char *target, int flags) {
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC | flags);
  if (device < 0) die("/dev/fuse");
  char options[64];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
  if (mount("bare", target, "fuse.bare", MS_NOSUID | MS_NODEV, options) != 0) die(target);
  return device;
}

static struct fuse_attr attributes(uint64_t node) {
  int is_root = node == FUSE_ROOT_ID;
  return (struct fuse_attr){
      .ino = node,
      .mode = is_root ? S_IFDIR | 0755 : S_IFREG | 0644,
      .nlink = is_root ? 2 : 1,
      .blksize = 4096,
  };
}

// The length of the body of the reply, or a negative errno.
static int answer(const struct fuse_in_header *request, const void *argument, struct reply *reply) {
  memset(&reply->body, 0, sizeof reply->body);
  switch (request->opcode) {
    case FUSE_INIT:
      reply->body.init = (struct fuse_init_out){
          .major = FUSE_KERNEL_VERSION,
          .minor = FUSE_KERNEL_MINOR_VERSION,
          .max_readahead = MAX_WRITE,
          .max_background = 16,
          .max_write = MAX_WRITE,
          .time_gran = 1,
      };
      return sizeof reply->body.init;
    case FUSE_LOOKUP:
      if (strcmp(argument, "none") == 0) return -ENOENT;
      reply->body.entry = (struct fuse_entry_out){.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
      return sizeof reply->body.entry;
    case FUSE_GETATTR:
      reply->body.attr = (struct fuse_attr_out){.attr = attributes(request->nodeid)};
      return sizeof reply->body.attr;
    default:
      return -ENOSYS;
  }
}

// Reads one request; with a spin the device does not block, and is asked again for so long before the process sleeps.
static ssize_t receive(int device, char *buffer, int64_t spin_ns) {
  for (int64_t end = spin_ns > 0 ? now_ns() + spin_ns : 0;;) {
    ssize_t length = read(device, buffer, BUFFER_BYTES);
    if (length >= 0 || errno != EAGAIN) return length;
    if (now_ns() >= end) poll(&(struct pollfd){.fd = device, .events = POLLIN}, 1, -1);
  }
}

int main(int count, char **arguments) {
  if (count < 2 || count > 3) {
    fprintf(stderr, "usage: bare DIR [SPIN_US]\n");
    return 2;
  }
  int64_t spin_ns = count == 3 ? atoll(arguments[2]) * 1000 : 0;
  char *buffer = aligned_alloc(4096, BUFFER_BYTES);
  if (!buffer) die("memory");
  int device = mount_on(arguments[1], spin_ns > 0 ? O_NONBLOCK : 0);
  for (;;) {
    ssize_t length = receive(device, buffer, spin_ns);
    if (length < 0 && errno == ENODEV) return 0;  // unmounted
    if (length < 0 && (errno == EINTR || errno == ENOENT)) continue;
    if (length < 0) die("read");

    const struct fuse_in_header *request = (const struct fuse_in_header *)buffer;
    if (request->opcode == FUSE_FORGET || request->opcode == FUSE_BATCH_FORGET || request->opcode == FUSE_INTERRUPT) {
      continue;  // these have no reply
    }
    struct reply reply = {.header = {.unique = request->unique}};
    int body = answer(request, buffer + sizeof *request, &reply);
    reply.header.error = body < 0 ? body : 0;
    reply.header.len = sizeof reply.header + (body < 0 ? 0 : body);
    // ENOENT: the program gave up waiting. The connection's end shows at the next read.
    if (write(device, &reply, reply.header.len) < 0 && errno != ENOENT && errno != ENODEV) die("write");
  }
}
