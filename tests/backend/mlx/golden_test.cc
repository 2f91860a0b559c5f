// The mlx backend on the CPU, in float32, against logits that something else computed.
#include "golden/golden.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "backend/mlx/mlx_backend.h"
#include "model/model_files.h"

namespace mlxd::mlx_backend {
namespace {

using golden::Difference;
using golden::Fixture;
using golden::Schedule;

// Sums of float32 in another order; the fixtures have five decimals. Measured: below 1e-4.
constexpr double kRounding = 5e-4;

std::unique_ptr<ModelRunner> open(const Fixture& fixture) {
  MlxOptions options;
  options.device = "cpu";
  return make_mlx_runner(open_model(fixture.model).plan, options);
}

// MLX's products are scalar loops on a CPU, some 10 tokens a second, so a few prompts each must do:
// every prompt runs on the cpu backend, and sliding windows on a tiny model.
void expect_equal(const char* name, std::size_t first, std::size_t count,
                  const Schedule& schedule) {
  const Fixture fixture = golden::load_real(name);
  const auto runner = open(fixture);
  const Difference difference =
      golden::compare(*runner, std::span(fixture.prompts).subspan(first, count), schedule);
  SCOPED_TRACE(testing::PrintToString(difference));
  EXPECT_GE(difference.rows, static_cast<int>(count));
  EXPECT_EQ(difference.same_top, difference.rows);
  EXPECT_LT(difference.largest_logprob, kRounding);
  EXPECT_LT(difference.largest_logsumexp, kRounding);
  EXPECT_LT(difference.largest_divergence, 1e-6);
}

TEST(MlxGolden, SmolLM2AgreesWithNumpy) {
  expect_equal("smollm2", 0, 6, Schedule{.together = 6, .scattered_blocks = true});
}

TEST(MlxGolden, Gemma3AgreesWithNumpy) {
  expect_equal("gemma3", 0, 3, Schedule{.together = 3, .chunk = 4});
}

TEST(MlxGolden, Qwen2AgreesWithNumpy) { expect_equal("qwen2", 0, 2, Schedule{.together = 2}); }

TEST(MlxGolden, SmolLM2InMlx4BitAgreesWithMlxLm) {
  expect_equal("smollm2-4bit", 0, 4, Schedule{.together = 4});
}

TEST(MlxGolden, SmolLM2InMlx8BitAgreesWithMlxLm) {
  expect_equal("smollm2-8bit", 0, 4, Schedule{.together = 4});
}

}  // namespace
}  // namespace mlxd::mlx_backend
