#pragma once

#include <functional>
#include <memory>

namespace mlxd::api {

// The threads that parse, render and tokenise, so that the I/O thread never does. The destructor
// drops what has not begun and waits for what has.
class TextPool {
 public:
  TextPool(int threads, int max_queued);
  ~TextPool();

  // Any thread. False when `max_queued` jobs wait already; jobs must not throw.
  bool try_post(std::function<void()> job);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxd::api
