#include "tracing/exporter.h"

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

using ::testing::HasSubstr;

constexpr Exporter::Pace kQuick{0.001, 3, 30};

// A collector that answers as it is told, the last answer again and again, and keeps what came.
class Collector {
 public:
  explicit Collector(std::vector<Sent> answers) : answers_(std::move(answers)) {}

  Exporter::Post post() {
    return [this](const std::string& body, const std::function<bool()>&) {
      std::unique_lock lock(mutex_);
      bodies_.push_back(body);
      times_.push_back(Clock::now());
      changed_.notify_all();
      changed_.wait(lock, [this] { return !held_; });
      return answers_[std::min(bodies_.size(), answers_.size()) - 1];
    };
  }
  void hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void wait_for_posts(std::size_t count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(60), [&] { return bodies_.size() >= count; }));
  }
  std::vector<std::string> bodies() {
    std::lock_guard lock(mutex_);
    return bodies_;
  }
  double seconds_between_posts(std::size_t first) {
    std::lock_guard lock(mutex_);
    return seconds_between(times_.at(first), times_.at(first + 1));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::vector<Sent> answers_;
  std::vector<std::string> bodies_;
  std::vector<TimePoint> times_;
  bool held_ = false;
};

Sent taken() { return {.taken = true}; }
Sent refused(bool may_pass, double retry_after = 0) {
  return {.may_pass = may_pass, .retry_after_seconds = retry_after, .failure = "it does not want"};
}

std::vector<Span> spans(int count, const std::string& name = "span") {
  std::vector<Span> made(static_cast<std::size_t>(count));
  for (Span& span : made) span.name = name;
  return made;
}

Settings settings() {
  Settings settings;
  settings.url = "http://collector/v1/traces";
  settings.resource = {{"service.name", "mlxd"}};
  settings.delay_seconds = 0.001;
  settings.queue_spans = 8;
  settings.batch_spans = 8;
  return settings;
}

void wait_for(const Exporter& exporter, SpanCounts expected) {
  const TimePoint end = after_seconds(Clock::now(), 60);
  while (Clock::now() < end) {
    const SpanCounts counts = exporter.counts();
    if (counts.exported == expected.exported && counts.dropped == expected.dropped) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAIL() << "exported " << exporter.counts().exported << ", dropped " << exporter.counts().dropped;
}

TEST(Exporter, SendsAndCountsSpans) {
  Collector collector({taken()});
  Exporter exporter(settings(), "1.2.3", collector.post(), kQuick);
  exporter.add(spans(3, "chat tiny"));
  wait_for(exporter, {3, 0});
  EXPECT_THAT(collector.bodies().at(0), HasSubstr("chat tiny"));
  EXPECT_THAT(collector.bodies().at(0), HasSubstr("1.2.3"));
}

TEST(Exporter, TriesTheSameBatchAgainWhereThatMayHelp) {
  Collector collector({refused(true), refused(true), taken()});
  Exporter exporter(settings(), "1", collector.post(), kQuick);
  exporter.add(spans(2));
  wait_for(exporter, {2, 0});
  const auto bodies = collector.bodies();
  ASSERT_EQ(bodies.size(), 3u);
  EXPECT_EQ(bodies[0], bodies[2]);
}

TEST(Exporter, WaitsForAsLongAsTheCollectorSays) {
  Collector collector({refused(true, 0.3), taken()});
  Exporter exporter(settings(), "1", collector.post(), kQuick);
  exporter.add(spans(2));
  wait_for(exporter, {2, 0});
  EXPECT_GE(collector.seconds_between_posts(0), 0.3);
}

TEST(Exporter, DropsABatchThatIsRefusedForGoodOrTooOften) {
  for (const bool may_pass : {false, true}) {
    Collector collector({refused(may_pass)});
    Exporter exporter(settings(), "1", collector.post(), kQuick);
    exporter.add(spans(2));
    wait_for(exporter, {0, 2});
    EXPECT_EQ(collector.bodies().size(), may_pass ? 3u : 1u);
  }
}

TEST(Exporter, CountsWhatACollectorTakesInPart) {
  Sent partly = taken();
  partly.rejected_spans = 2;
  Collector collector({partly});
  Exporter exporter(settings(), "1", collector.post(), kQuick);
  exporter.add(spans(5));
  wait_for(exporter, {3, 2});
}

TEST(Exporter, KeepsABoundedNumberWhileTheCollectorIsBusyAndNeverWaits) {
  Collector collector({taken()});
  Exporter exporter(settings(), "1", collector.post(), kQuick);
  collector.hold(true);
  exporter.add(spans(1));
  collector.wait_for_posts(1);
  for (int i = 0; i < 5; ++i) exporter.add(spans(4));  // the queue has room for two of them
  EXPECT_EQ(exporter.counts().dropped, 12);
  collector.hold(false);
  wait_for(exporter, {9, 12});
}

TEST(Exporter, SendsWhatIsLeftAtItsEnd) {
  Collector collector({taken()});
  Settings patient = settings();
  patient.delay_seconds = 600;
  {
    Exporter exporter(patient, "1", collector.post(), kQuick);
    exporter.add(spans(2));
  }
  EXPECT_EQ(collector.bodies().size(), 1u);
}

TEST(Exporter, EndsSoonWhereNobodyTakesAnything) {
  Collector collector({refused(true, 600)});
  const TimePoint begin = Clock::now();
  {
    Exporter exporter(settings(), "1", collector.post(), kQuick);
    exporter.add(spans(2));
    collector.wait_for_posts(1);
  }
  EXPECT_LT(seconds_between(begin, Clock::now()), 300);
  EXPECT_EQ(collector.bodies().size(), 2u) << "one more try, without the pause";
}

TEST(Exporter, TellsItsClientWhenTheTimeIsUp) {
  std::promise<void> asked;
  bool told = false;
  {
    Exporter exporter(settings(), "1",
                      [&](const std::string&, const std::function<bool()>& stopped) {
                        asked.set_value();
                        while (!stopped())
                          std::this_thread::sleep_for(std::chrono::milliseconds(1));
                        told = true;
                        return refused(true);
                      },
                      {.first_retry_seconds = 0.001, .tries = 3, .closing_seconds = 0.01});
    exporter.add(spans(1));
    asked.get_future().wait();
  }
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace mlxd::tracing
