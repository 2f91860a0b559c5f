#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/clock.h"

namespace mlxd {

// How fast requests leave the queue while there is one, for an honest Retry-After. The inference
// thread writes, any thread reads.
class QueueRate {
 public:
  // A request left the queue; `still_queued` others are left.
  void left(TimePoint now, int still_queued) {
    const Clock::rep before = last_;
    if (before != 0) {
      const double seconds = seconds_between(TimePoint(Clock::duration(before)), now);
      const double mean = seconds_;
      seconds_ = mean == 0 ? seconds : mean + (seconds - mean) / 8;
    }
    // Time in which nobody waited says nothing of how long waiting takes.
    last_ = still_queued > 0 ? now.time_since_epoch().count() : 0;
  }

  // Whole seconds until about a quarter of the queue will have left: others will come back as well.
  double retry_after(TimePoint now, int queued) const {
    double seconds = seconds_;
    if (const Clock::rep last = last_; last != 0) {
      seconds = std::max(seconds, seconds_between(TimePoint(Clock::duration(last)), now));
    }
    return std::clamp(std::ceil(seconds * std::max(queued / 4, 1)), 1.0, 120.0);
  }

 private:
  std::atomic<Clock::rep> last_{0};  // 0: nobody waited then
  std::atomic<double> seconds_{0};   // mean between two departures, 0: not measured yet
};

}  // namespace mlxd
