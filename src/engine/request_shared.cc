#include "engine/request_shared.h"

#include "engine/sequence.h"

namespace mlxd {

// Here, where Request is a complete type.
Inbox::Inbox(std::size_t capacity) : arrivals(capacity) {}
Inbox::~Inbox() = default;

RequestHandle::RequestHandle(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

RequestHandle& RequestHandle::operator=(RequestHandle&& other) noexcept {
  if (this != &other) {
    if (shared_) cancel();
    shared_ = std::move(other.shared_);
  }
  return *this;
}

RequestHandle::~RequestHandle() {
  if (shared_) cancel();
}

std::optional<TokenEvent> RequestHandle::try_next() { return shared_->events.try_pop(); }

std::optional<TokenEvent> RequestHandle::next_until(TimePoint limit) {
  return shared_->events.pop_until(limit);
}

void RequestHandle::stop_sample(int sample) {
  shared_->stopped_samples |= std::uint64_t{1} << sample;
  shared_->inbox->arrivals.wake();
}

void RequestHandle::cancel() {
  if (shared_->ended || shared_->cancelled.exchange(true)) return;
  shared_->inbox->arrivals.wake();
}

}  // namespace mlxd
