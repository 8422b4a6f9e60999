// Mounting without privileges: the set-uid program fusermount3 mounts and passes the descriptor back over a socket
// whose number it finds in the environment as _FUSE_COMMFD (fusermount3(1), libfuse lib/mount.c).
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "args.h"
#include "errors.h"
#include "mount.h"

extern char** environ;

namespace {

constexpr int kHelperSocket = 3;

struct Pair {
  int ours = -1;
  int theirs = -1;

  ~Pair() {
    CloseTheirs();
    if (ours >= 0) close(ours);
  }
  void CloseTheirs() {
    if (theirs >= 0) close(theirs);
    theirs = -1;
  }
};

// Starts the helper with its standard error and its end of the socket. Returns 0 or an errno.
int Spawn(const std::string& target, const std::string& options, const Pair& socket, const Pair& errors, pid_t* pid) {
  std::vector<char*> environment;
  for (char** entry = environ; *entry; entry++) {
    if (strncmp(*entry, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*entry);
  }
  std::string socket_name = "_FUSE_COMMFD=" + std::to_string(kHelperSocket);
  environment.push_back(socket_name.data());
  environment.push_back(nullptr);

  std::string program = "fusermount3", o = "-o", end = "--", opts = options, path = target;
  std::vector<char*> argv{program.data()};
  if (!opts.empty()) argv.insert(argv.end(), {o.data(), opts.data()});
  argv.insert(argv.end(), {end.data(), path.data(), nullptr});

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, errors.theirs, STDERR_FILENO);
  // After standard error, whose source may have this number.
  posix_spawn_file_actions_adddup2(&actions, socket.theirs, kHelperSocket);
  const int error = posix_spawnp(pid, program.c_str(), &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// The descriptor that the helper sends, or -1 if it hung up without one.
int ReceiveDescriptor(int socket) {
  char byte;
  iovec io{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

// The first line of what the helper says, without its name.
std::string FirstLine(int fd) {
  std::string text;
  char buffer[512];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || text.size() > 4096) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  text = text.substr(0, text.find('\n'));
  const std::string prefix = "fusermount3: ";
  return text.compare(0, prefix.size(), prefix) == 0 ? text.substr(prefix.size()) : text;
}

// The helper tells why in words only, which mostly end with strerror(3)'s.
int ErrorFromText(const std::string& text) {
  for (const int error : {EACCES, ENOENT, ENOTDIR, EBUSY, ENODEV, ENOTCONN, EINVAL, ENOMEM}) {
    const std::string words = strerror(error);
    if (text.size() >= words.size() && text.compare(text.size() - words.size(), words.size(), words) == 0) return error;
  }
  return EPERM;
}

}  // namespace

napi_value mounting::MountWithHelper(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const std::string target = args.String(0);
  const std::string options = args.String(1);
  if (!args.ok()) return nullptr;

  Pair socket, errors;
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return ThrowSystemError(env, errno, "socketpair");
  socket.ours = fds[0], socket.theirs = fds[1];
  if (pipe2(fds, O_CLOEXEC) != 0) return ThrowSystemError(env, errno, "pipe");
  errors.ours = fds[0], errors.theirs = fds[1];

  pid_t pid;
  if (const int error = Spawn(target, options, socket, errors, &pid)) {
    return ThrowSystemError(env, error, "spawn fusermount3", error == ENOENT ? "(apt-get install fuse3)" : "");
  }
  socket.CloseTheirs();
  errors.CloseTheirs();

  const int fd = ReceiveDescriptor(socket.ours);
  const std::string said = FirstLine(errors.ours);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (fd < 0) return ThrowSystemError(env, ErrorFromText(said), "fusermount3", "'" + target + "': " + said);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  napi_value result;
  napi_create_int32(env, fd, &result);
  return result;
}
