#include "tracing/tracer.h"

#include <set>

#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

Settings settings(Sampler sampler = {}) {
  Settings settings;
  settings.sampler = sampler;
  return settings;
}

Sent take(const std::string&, const std::function<bool()>&) { return {.taken = true}; }

TEST(Tracer, GoesOnWithTheTraceOfACaller) {
  Tracer tracer(settings(), "1", take);
  const auto context = tracer.begin(std::string(kParent) + "1", "a=1");
  ASSERT_TRUE(context);
  EXPECT_EQ(to_hex(context->trace_id), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(to_hex(*context->parent), "b7ad6b7169203331");
  EXPECT_NE(context->span_id, *context->parent);
  EXPECT_EQ(context->trace_state, "a=1");
  EXPECT_FALSE(tracer.begin(std::string(kParent) + "0", "")) << "the caller does not record it";
}

TEST(Tracer, BeginsATraceOfItsOwnElse) {
  Tracer tracer(settings(), "1", take);
  std::set<std::string> traces, ids;
  for (int i = 0; i < 100; ++i) {
    const auto context = tracer.begin(i % 2 == 0 ? "" : "malformed", "a=1");
    ASSERT_TRUE(context);
    EXPECT_FALSE(context->parent);
    EXPECT_EQ(context->trace_state, "");
    traces.insert(to_hex(context->trace_id));
    ids.insert(to_hex(context->span_id));
    ids.insert(to_hex(tracer.new_span_id()));
  }
  EXPECT_EQ(traces.size(), 100u);
  EXPECT_EQ(ids.size(), 200u);
}

TEST(Tracer, RecordsNothingThatIsNotSampled) {
  Tracer tracer(settings({.follows_parent = true, .ratio = 0}), "1", take);
  EXPECT_FALSE(tracer.begin("", ""));
  EXPECT_TRUE(tracer.begin(std::string(kParent) + "1", ""));
}

TEST(WallClock, KeepsDistances) {
  const WallClock clock;
  const TimePoint now = Clock::now();
  EXPECT_EQ(clock.at(after_seconds(now, 1.5)) - clock.at(now), 1'500'000'000);
}

}  // namespace
}  // namespace mlxd::tracing
