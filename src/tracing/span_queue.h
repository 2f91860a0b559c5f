#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "tracing/span.h"

namespace mlxd::tracing {

// Spans on their way to the exporter: many producers, which never wait, and one consumer, which
// takes them in batches. Every function may be called on any thread.
class SpanQueue {
 public:
  // `capacity` and `batch` in spans.
  SpanQueue(std::size_t capacity, std::size_t batch) : capacity_(capacity), batch_(batch) {}

  // The spans of a request: all of them, or none where there is no room for all: false. Then, and
  // where it throws for want of memory, the queue is as it was.
  bool try_push(std::vector<Span>&& spans);

  // Waits for a span, then `delay_seconds` more for others unless a batch is full before, and takes
  // as many requests as fit into a batch, one at least. Once closed it does not wait; empty: it is
  // closed, and nothing is left.
  std::vector<Span> take(double delay_seconds);

  void close();  // nothing more is taken in

  // Waits for `seconds`, or until the queue is closed.
  void wait_closed(double seconds);

 private:
  const std::size_t capacity_, batch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<Span>> requests_;
  std::size_t count_ = 0;  // of their spans
  bool closed_ = false;
};

}  // namespace mlxd::tracing
