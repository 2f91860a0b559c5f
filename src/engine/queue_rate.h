#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "base/clock.h"

namespace mlxd {

// How fast requests, and the tokens of their prompts, leave the queue while there is one: for an
// honest Retry-After. The inference thread writes, any thread reads.
class QueueRate {
 public:
  // A request with so many prompt tokens left the queue; `still_queued` others are left.
  void left(TimePoint now, int tokens, int still_queued) {
    if (const Clock::rep before = last_; before != 0) {
      const double seconds = seconds_between(TimePoint(Clock::duration(before)), now);
      // What came between two departures was mostly the work on the first.
      const double weight = seconds_ == 0 ? 1 : 1.0 / 8;
      seconds_ = seconds_ + weight * (seconds - seconds_);
      tokens_ = tokens_ + weight * (last_tokens_ - tokens_);
    }
    // Time in which nobody waited says nothing of how long waiting takes.
    last_ = still_queued > 0 ? now.time_since_epoch().count() : 0;
    last_tokens_ = tokens;
  }

  // Whole seconds until about a quarter of the queue, and one request at least, will have left:
  // others will come back as well. Where sequences that decode hold up the queue, each request
  // takes its time; where prompts do, each token. The longer one is told.
  double retry_after(TimePoint now, int queued, std::int64_t queued_tokens) const {
    double seconds = seconds_;
    if (const Clock::rep last = last_; last != 0) {
      seconds = std::max(seconds, seconds_between(TimePoint(Clock::duration(last)), now));
    }
    const double requests = std::max(queued / 4.0, 1.0);
    const double share = std::min(requests / std::max(queued, 1), 1.0);
    const double tokens = share * static_cast<double>(queued_tokens) / std::max<double>(tokens_, 1);
    return std::clamp(std::ceil(seconds * std::max(requests, tokens)), 1.0, 120.0);
  }

 private:
  std::atomic<Clock::rep> last_{0};  // departure; 0: nobody waited then
  double last_tokens_ = 0;           // of its prompt; the inference thread's
  std::atomic<double> seconds_{0};   // mean between two departures, 0: not measured yet
  std::atomic<double> tokens_{0};    // mean of the prompts that left
};

}  // namespace mlxd
