#include "tracing/span_queue.h"

#include <algorithm>
#include <iterator>

namespace mlxd::tracing {

bool SpanQueue::try_push(std::vector<Span>&& spans) {
  bool tell = false;
  {
    std::lock_guard lock(mutex_);
    const std::size_t before = spans_.size();
    if (closed_ || spans.size() > capacity_ - before) return false;
    spans_.reserve(std::min(capacity_, std::max(before + spans.size(), 2 * before)));
    std::ranges::move(spans, std::back_inserter(spans_));
    tell = before == 0 || (before < batch_ && spans_.size() >= batch_);
  }
  if (tell) changed_.notify_one();
  return true;
}

std::vector<Span> SpanQueue::take(double delay_seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !spans_.empty() || closed_; });
  changed_.wait_until(lock, after_seconds(Clock::now(), delay_seconds),
                      [this] { return spans_.size() >= batch_ || closed_; });
  const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(std::min(batch_, spans_.size()));
  std::vector<Span> batch(std::make_move_iterator(spans_.begin()), std::make_move_iterator(end));
  spans_.erase(spans_.begin(), end);
  return batch;
}

void SpanQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

void SpanQueue::wait_closed(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, after_seconds(Clock::now(), seconds), [this] { return closed_; });
}

}  // namespace mlxd::tracing
