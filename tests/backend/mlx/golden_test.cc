// The mlx backend on the CPU, in float32, against logits that something else computed.
#include "golden/golden.h"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>

#include "backend/mlx/mlx_backend.h"
#include "model/model_files.h"

namespace mlxd::mlx_backend {
namespace {

using golden::Difference;
using golden::Fixture;
using golden::Prompt;
using golden::Schedule;

// Sums of float32 in another order, over the layers of these models.
constexpr double kRounding = 2e-3;

std::unique_ptr<ModelRunner> open(const Fixture& fixture, bool expand) {
  MlxOptions options;
  options.device = "cpu";
  options.expand_weights = expand;
  return make_mlx_runner(open_model(fixture.model).plan, options);
}

void expect_equal(const Difference& difference) {
  SCOPED_TRACE(testing::PrintToString(difference));
  EXPECT_GT(difference.rows, 0);
  EXPECT_EQ(difference.same_top, difference.rows);
  EXPECT_LT(difference.largest_logprob, kRounding);
  EXPECT_LT(difference.largest_logsumexp, kRounding);
  EXPECT_LT(difference.largest_divergence, 1e-5);
}

TEST(MlxGolden, SmolLM2AgreesWithNumpy) {
  const Fixture fixture = golden::load_real("smollm2");
  const auto runner = open(fixture, /*expand=*/true);
  expect_equal(golden::compare(*runner, fixture.prompts, Schedule{.together = 8}));
}

TEST(MlxGolden, SmolLM2AgreesWithNumpyWithItsWeightsPacked) {
  const Fixture fixture = golden::load_real("smollm2");
  const auto runner = open(fixture, /*expand=*/false);
  expect_equal(golden::compare(*runner, std::span(fixture.prompts).first(4)));
}

TEST(MlxGolden, Gemma3AgreesWithNumpyBeyondItsSlidingWindow) {
  const Fixture fixture = golden::load_real("gemma3");
  ASSERT_GT(fixture.prompts.back().tokens.size(), 512u);
  const auto runner = open(fixture, /*expand=*/true);
  expect_equal(golden::compare(*runner, fixture.prompts,
                               Schedule{.together = 4, .chunk = 200, .scattered_blocks = true}));
}

TEST(MlxGolden, Qwen2AgreesWithNumpyWithItsWeightsPacked) {
  const Fixture fixture = golden::load_real("qwen2");
  const auto runner = open(fixture, /*expand=*/false);
  expect_equal(golden::compare(*runner, std::span(fixture.prompts).subspan(1, 1)));
}

TEST(MlxGolden, SmolLM2InMlx4BitAgreesWithMlxLm) {
  const Fixture fixture = golden::load_real("smollm2-4bit");
  expect_equal(golden::compare(*open(fixture, false), std::span(fixture.prompts).first(4)));
  expect_equal(golden::compare(*open(fixture, true), fixture.prompts, Schedule{.together = 5}));
}

TEST(MlxGolden, SmolLM2InMlx8BitAgreesWithMlxLm) {
  const Fixture fixture = golden::load_real("smollm2-8bit");
  expect_equal(golden::compare(*open(fixture, false), std::span(fixture.prompts).first(2)));
  expect_equal(golden::compare(*open(fixture, true), fixture.prompts, Schedule{.together = 5}));
}

}  // namespace
}  // namespace mlxd::mlx_backend
