#include "tracing/sampler.h"

#include <random>

#include <gtest/gtest.h>

namespace mlxd::tracing {
namespace {

TraceId id_of(std::uint64_t last_bytes) {
  TraceId id{};
  id[0] = 1;
  for (int i = 0; i < 8; ++i) id[static_cast<std::size_t>(15 - i)] = last_bytes >> (8 * i) & 255;
  return id;
}

RemoteParent caller(bool sampled) {
  RemoteParent parent;
  parent.sampled = sampled;
  return parent;
}

TEST(Sampler, FollowsItsCallerByDefaultAndElseTakesAll) {
  const Sampler sampler;
  const RemoteParent yes = caller(true), no = caller(false);
  EXPECT_TRUE(sampler.samples(id_of(~0ull), nullptr));
  EXPECT_TRUE(sampler.samples(id_of(1), &yes));
  EXPECT_FALSE(sampler.samples(id_of(1), &no));
}

TEST(Sampler, HasTheNamesOfOpenTelemetry) {
  const RemoteParent yes = caller(true), no = caller(false);
  const TraceId id = id_of(~0ull);
  EXPECT_TRUE(sampler_named("always_on", 0)->samples(id, &no));
  EXPECT_FALSE(sampler_named("always_off", 1)->samples(id, &yes));
  EXPECT_FALSE(sampler_named("traceidratio", 0)->samples(id, &yes));
  EXPECT_TRUE(sampler_named("traceidratio", 1)->samples(id, &no));
  EXPECT_TRUE(sampler_named("parentbased_always_on", 0)->samples(id, nullptr));
  EXPECT_FALSE(sampler_named("parentbased_always_on", 0)->samples(id, &no));
  EXPECT_FALSE(sampler_named("parentbased_always_off", 0)->samples(id, nullptr));
  EXPECT_TRUE(sampler_named("parentbased_always_off", 0)->samples(id, &yes));
  EXPECT_FALSE(sampler_named("parentbased_traceidratio", 0.5)->samples(id, nullptr));
  EXPECT_TRUE(sampler_named("parentbased_traceidratio", 0.5)->samples(id, &yes));
  for (const char* name : {"", "jaeger_remote", "parentbased_", "ALWAYS_ON"}) {
    EXPECT_FALSE(sampler_named(name, 1)) << name;
  }
}

TEST(Sampler, TakesAPartByTheTracesIdAlone) {
  const Sampler quarter = *sampler_named("traceidratio", 0.25);
  EXPECT_TRUE(quarter.samples(id_of(0x3fff'ffff'ffff'f000), nullptr));
  EXPECT_FALSE(quarter.samples(id_of(0x4000'0000'0000'0000), nullptr));
  std::mt19937_64 random(7);
  int taken = 0;
  for (int i = 0; i < 10'000; ++i) taken += quarter.samples(id_of(random()), nullptr) ? 1 : 0;
  EXPECT_NEAR(taken, 2500, 150);
}

}  // namespace
}  // namespace mlxd::tracing
