#pragma once

#include <csignal>

#include <unistd.h>

namespace mlxd {

// SIGTERM and SIGINT are taken by wait_for alone. To be made before any thread exists, so that
// every thread inherits the mask.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  // Whether one has come within the time; it is taken then.
  bool wait_for(double seconds) const {
#ifdef __APPLE__
    // No sigtimedwait there.
    for (double waited = 0; waited < seconds; waited += 0.05) {
      sigset_t pending;
      if (::sigpending(&pending) == 0 &&
          (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))) {
        int signal = 0;
        return ::sigwait(&set_, &signal) == 0;
      }
      ::usleep(50'000);
    }
    return false;
#else
    timespec limit{};
    limit.tv_sec = static_cast<time_t>(seconds);
    limit.tv_nsec = static_cast<long>((seconds - static_cast<double>(limit.tv_sec)) * 1e9);
    return ::sigtimedwait(&set_, nullptr, &limit) > 0;
#endif
  }

 private:
  sigset_t set_{};
};

}  // namespace mlxd
