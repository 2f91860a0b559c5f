// The cuda backend against logits of real models that something else computed, on a card.
#include "golden/golden.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "model/model_files.h"

namespace mlxd::cuda_backend {
namespace {

using golden::Difference;
using golden::Fixture;
using golden::Schedule;

class CudaGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    fixture_ = golden::load_real(GetParam());
    if (!std::filesystem::exists(fixture_.model)) GTEST_SKIP() << "the model is not here";
  }
  Fixture fixture_;
};

TEST_P(CudaGolden, AgreesToTheRoundingOfItsActivations) {
  const auto runner = make_cuda_runner(open_model(fixture_.model).plan);
  const Difference difference = golden::compare(*runner, fixture_.prompts, {.together = 6});
  RecordProperty("difference", testing::PrintToString(difference));
  SCOPED_TRACE(testing::PrintToString(difference));
  EXPECT_GE(difference.same_top, difference.rows * 95 / 100);
  EXPECT_LT(difference.mean_divergence, 2e-3);
  EXPECT_LT(difference.largest_divergence, 2e-2);
}

// A text of more keys than a part of attention has: read whole, parts follow one another; read on
// token by token, they are computed beside one another.
TEST_P(CudaGolden, GivesALongTextTheSameBitsInChunksAsWhole) {
  const auto runner = make_cuda_runner(open_model(fixture_.model).plan);
  golden::Prompt prompt;
  for (int i = 0; i < 1300; ++i) prompt.tokens.push_back(100 + (i * 37 + i / 11 * 5) % 4000);
  for (const int row : {300, 511, 512, 1024, 1290, 1299}) prompt.rows.emplace_back().row = row;
  const std::vector<golden::Prompt> prompts = {prompt};
  const auto whole = golden::run(*runner, prompts, {.chunk = 1300});
  for (const int chunk : {1, 33, 100, 512}) {
    EXPECT_EQ(golden::run(*runner, prompts, {.chunk = chunk}), whole) << "chunks of " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Real, CudaGolden,
                         testing::Values("smollm2", "smollm2-4bit", "smollm2-8bit", "qwen2"),
                         [](const auto& tested) { return golden::test_name(tested.param); });

}  // namespace
}  // namespace mlxd::cuda_backend
