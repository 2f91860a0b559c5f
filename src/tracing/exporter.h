#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "tracing/otlp_client.h"
#include "tracing/settings.h"
#include "tracing/span_queue.h"

namespace mlxd::tracing {

// Sends spans to a collector from a bounded queue, on a thread of its own.
class Exporter {
 public:
  // OtlpClient::post, or a test's.
  using Post = std::function<Sent(const std::string& body, const std::function<bool()>& stopped)>;
  struct Pace {
    double first_retry_seconds = 1;  // then twice as long each time, up to 30
    int tries = 6;                   // of a batch, beside which the queue fills
    double closing_seconds = 2;      // for what is left at the end
  };

  // `version` is the program's. Throws StartupError as OtlpClient does.
  Exporter(const Settings& settings, std::string version);
  Exporter(const Settings& settings, std::string version, Post post, Pace pace);
  // Sends what is left, for as long as `closing_seconds` and a second at most.
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  // Any thread; never waits, and never fails: what has no place is dropped, and counted.
  void add(std::vector<Span>&& spans) noexcept;
  void drop(std::int64_t spans) noexcept { dropped_ += spans; }  // counts them so
  SpanCounts counts() const { return {exported_, dropped_}; }

 private:
  void run() noexcept;
  void send(const std::vector<Span>& batch);
  // Once a minute at most.
  void complain(const std::string& failure);
  // From then on a batch is tried once.
  bool is_closing() const { return end_.load() != Clock::duration::max(); }
  bool time_is_up() const { return Clock::now().time_since_epoch() >= end_.load(); }

  const std::string where_;  // the collector, for the log
  const Resource resource_;
  const std::string version_;
  const double delay_seconds_;
  const Post post_;
  const Pace pace_;
  SpanQueue queue_;
  std::atomic<std::int64_t> exported_{0}, dropped_{0};
  std::atomic<Clock::duration> end_{Clock::duration::max()};  // of the thread's time
  TimePoint complained_{};
  std::thread thread_;
};

}  // namespace mlxd::tracing
