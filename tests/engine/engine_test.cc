#include "engine/engine.h"

#include <gtest/gtest.h>

#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

TEST(Engine, DeliversMaxTokensThenOneTerminalEvent) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1, 2, 3}, 10));
  ASSERT_TRUE(handle);
  const Answer answer = read_all(*handle);
  EXPECT_TRUE(answer.completed());
  ASSERT_EQ(answer.tokens.size(), 1u);
  EXPECT_EQ(answer.tokens[0].size(), 10u);
  ASSERT_EQ(answer.finished.size(), 1u);
  EXPECT_EQ(answer.finished[0].reason, FinishReason::length);
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

}  // namespace
}  // namespace mlxd::testing
