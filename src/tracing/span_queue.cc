#include "tracing/span_queue.h"

#include <iterator>
#include <utility>

namespace mlxd::tracing {

bool SpanQueue::try_push(std::vector<Span>&& spans) {
  bool tell = false;
  {
    std::lock_guard lock(mutex_);
    const std::size_t before = count_, more = spans.size();
    if (closed_ || more == 0 || more > capacity_ - before) return false;
    requests_.push_back(std::move(spans));
    count_ += more;
    tell = before == 0 || (before < batch_ && count_ >= batch_);
  }
  if (tell) changed_.notify_one();
  return true;
}

std::vector<Span> SpanQueue::take(double delay_seconds) {
  std::vector<std::vector<Span>> taken;
  std::size_t count = 0;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return count_ > 0 || closed_; });
    changed_.wait_until(lock, after_seconds(Clock::now(), delay_seconds),
                        [this] { return count_ >= batch_ || closed_; });
    while (!requests_.empty() && (count == 0 || count + requests_.front().size() <= batch_)) {
      taken.push_back(std::move(requests_.front()));
      requests_.pop_front();
      count += taken.back().size();
      count_ -= taken.back().size();
    }
  }
  std::vector<Span> batch;
  batch.reserve(count);
  for (auto& spans : taken) {
    batch.insert(batch.end(), std::make_move_iterator(spans.begin()),
                 std::make_move_iterator(spans.end()));
  }
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
