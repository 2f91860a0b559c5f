#include "tracing/exporter.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <random>
#include <utility>

#include <spdlog/spdlog.h>

namespace mlxd::tracing {
namespace {

constexpr double kLongestRetry = 30;      // seconds
constexpr double kComplaintSeconds = 60;  // between two lines of the log

Exporter::Post post_by(const Settings& settings) {
  return [client = std::make_shared<OtlpClient>(settings)](const std::string& body,
                                                           const std::function<bool()>& stopped) {
    return client->post(body, stopped);
  };
}

}  // namespace

Exporter::Exporter(const Settings& settings, std::string version)
    : Exporter(settings, std::move(version), post_by(settings), Pace()) {}

Exporter::Exporter(const Settings& settings, std::string version, Post post, Pace pace)
    : where_(without_credentials(settings.url)),
      resource_(settings.resource),
      version_(std::move(version)),
      delay_seconds_(settings.delay_seconds),
      post_(std::move(post)),
      pace_(pace),
      queue_(settings.queue_spans, settings.batch_spans),
      thread_([this] { run(); }) {}

Exporter::~Exporter() {
  end_ = after_seconds(Clock::now(), pace_.closing_seconds).time_since_epoch();
  queue_.close();
  thread_.join();
}

void Exporter::add(std::vector<Span>&& spans) noexcept {
  const auto count = static_cast<std::int64_t>(spans.size());
  try {
    if (queue_.try_push(std::move(spans))) return;
  } catch (const std::exception&) {  // no memory for them
  }
  dropped_ += count;
}

void Exporter::run() noexcept {
  while (true) {
    std::int64_t taken = 0;
    try {
      const std::vector<Span> batch = queue_.take(delay_seconds_);
      if (batch.empty()) return;
      taken = static_cast<std::int64_t>(batch.size());
      send(batch);
    } catch (const std::exception&) {  // no memory for the batch, or for its JSON
      dropped_ += taken;
      if (time_is_up()) return;
      queue_.wait_closed(1);
    }
  }
}

void Exporter::send(const std::vector<Span>& batch) {
  static thread_local std::minstd_rand jitter{std::random_device{}()};
  const auto count = static_cast<std::int64_t>(batch.size());
  const std::function<bool()> stopped = [this] { return time_is_up(); };
  double pause = pace_.first_retry_seconds;
  const std::string body = export_request(resource_, version_, batch);
  for (int tried = 1; !time_is_up(); ++tried) {
    const bool is_last = tried == pace_.tries || is_closing();
    const Sent sent = post_(body, stopped);
    if (sent.taken) {
      const std::int64_t rejected = std::min(sent.rejected_spans, count);
      exported_ += count - rejected;
      dropped_ += rejected;
      if (rejected > 0) complain(sent.failure);
      return;
    }
    complain(sent.failure);
    if (!sent.may_pass || is_last) break;
    const double asked = sent.retry_after_seconds;
    const double some = std::uniform_real_distribution<double>(0.8, 1.2)(jitter);
    queue_.wait_closed(asked > 0 ? asked : pause * some);
    pause = std::min(2 * pause, kLongestRetry);
  }
  dropped_ += count;
}

void Exporter::complain(const std::string& failure) {
  const TimePoint now = Clock::now();
  if (complained_ != TimePoint{} && seconds_between(complained_, now) < kComplaintSeconds) return;
  complained_ = now;
  spdlog::warn("the spans of traces are not taken by {}: {} ({} of them were dropped so far)",
               where_, failure, dropped_.load());
}

}  // namespace mlxd::tracing
