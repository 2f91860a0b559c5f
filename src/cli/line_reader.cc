#include "cli/line_reader.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "base/error.h"

namespace mlxd {
namespace {

// Where the handler writes: a pipe, so that a wait for input ends whichever thread the signal
// comes to.
std::atomic<int> handler_pipe{-1};

extern "C" void on_interrupt(int) {
  const int saved = errno;
  const char byte = 0;
  if (::write(handler_pipe, &byte, 1) < 0) {
    // It is full: an interrupt waits there already.
  }
  errno = saved;
}

}  // namespace

Interrupts::Interrupts(bool caught) : caught_(caught) {
  if (::pipe(pipe_) != 0) {
    throw StartupError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  for (const int end : pipe_) {
    ::fcntl(end, F_SETFL, O_NONBLOCK);
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
  }
  if (!caught) return;
  outer_pipe_ = handler_pipe.exchange(pipe_[1]);
  struct sigaction action {};
  action.sa_handler = &on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &outer_action_);
}

Interrupts::~Interrupts() {
  if (caught_) {
    ::sigaction(SIGINT, &outer_action_, nullptr);
    handler_pipe = outer_pipe_;
  }
  for (const int end : pipe_) ::close(end);
}

bool Interrupts::take() {
  char bytes[64];
  bool came = false;
  while (::read(pipe_[0], bytes, sizeof bytes) > 0) came = true;
  return came;
}

LineSource::Got LineReader::next(std::string& line) {
  if (!prompt_.empty()) {
    std::fputs(prompt_.c_str(), stdout);
    std::fflush(stdout);
  }
  while (true) {
    const std::size_t newline = unread_.find('\n');
    if (newline != std::string::npos || ended_) {
      if (newline == std::string::npos && unread_.empty()) return Got::end;
      line = unread_.substr(0, newline);
      unread_.erase(0, newline == std::string::npos ? newline : newline + 1);
      return Got::line;
    }
    pollfd waited[2] = {{descriptor_, POLLIN, 0}, {interrupts_.descriptor(), POLLIN, 0}};
    if (::poll(waited, 2, -1) < 0 && errno != EINTR) return Got::end;
    if (interrupts_.take()) {
      unread_.clear();
      return Got::interrupt;
    }
    if ((waited[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(descriptor_, bytes, sizeof bytes);
    if (count > 0) {
      unread_.append(bytes, static_cast<std::size_t>(count));
    } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
      ended_ = true;
    }
  }
}

}  // namespace mlxd
