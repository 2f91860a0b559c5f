// The cuda backend over tiny committed models, on a card.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/matrix_plan.h"
#include "base/error.h"
#include "engine/sampler.h"
#include "golden/golden.h"
#include "model/model_files.h"

namespace mlxd::cuda_backend {
namespace {

using golden::Difference;
using golden::Fixture;
using golden::Schedule;

std::unique_ptr<ModelRunner> open(const Fixture& fixture) {
  return make_cuda_runner(open_model(fixture.model).plan);
}

// Dense decoders: all kinds of layer, norm, rotation and window that the backend runs.
constexpr const char* kDense[] = {"gemma3",          "granite",
                                  "llama3",          "ministral3",
                                  "mistral",         "olmo2",
                                  "olmo3",           "phi3",
                                  "phi3-longrope",   "qwen2",
                                  "qwen3",           "seed-oss",
                                  "smollm3",         "ernie4-5",
                                  "exaone4",         "exaone4-windows",
                                  "granite.gguf",    "ministral3.gguf",
                                  "olmo2.gguf",      "olmo3.gguf",
                                  "phi3.gguf",       "phi3-longrope.gguf",
                                  "seed-oss.gguf",   "smollm3.gguf",
                                  "ernie4-5.gguf",   "exaone4.gguf",
                                  "gguf-types.gguf", "llama-4bit",
                                  "phi3-4bit",       "qwen3-mixed"};

// Experts and their routers, shared experts, sinks, clamped activations.
constexpr const char* kExperts[] = {
    "dots1",        "ernie4-5-moe",      "glm4-moe",      "gpt-oss",        "gpt-oss-mxfp4",
    "granitemoe",   "minimax-m2",        "mixtral",       "olmoe",          "qwen3-moe",
    "dots1.gguf",   "ernie4-5-moe.gguf", "glm4-moe.gguf", "gpt-oss.gguf",   "granitemoe.gguf",
    "mixtral.gguf", "minimax-m2.gguf",   "olmoe.gguf",    "qwen3-moe.gguf", "qwen3-moe-4bit"};

// Gated delta nets, attention with gates, and experts beside them.
constexpr const char* kDeltaNets[] = {"qwen3-5",         "qwen3-5.gguf",     "qwen3-5-4bit",
                                      "qwen3-5-moe",     "qwen3-5-moe.gguf", "qwen3-next",
                                      "qwen3-next.gguf", "qwen3-next-4bit"};

class CudaModel : public testing::TestWithParam<const char*> {
 protected:
  const Fixture fixture_ = golden::load_tiny(GetParam());
};

bool has_experts(const ModelPlan& plan) {
  return std::ranges::any_of(
      plan.blocks, [](const Block& block) { return std::holds_alternative<ExpertsBlock>(block); });
}

// Activations have 11 or 8 bits here and 24 there. Where two experts are all but equally good to a
// row, that may choose the other one: then it is some rows that differ, and the others do not.
TEST_P(CudaModel, AgreesWithMlxLmToTheRoundingOfItsActivations) {
  const Difference difference = golden::compare(*open(fixture_), fixture_.prompts);
  SCOPED_TRACE(testing::PrintToString(difference));
  const ModelPlan plan = open_model(fixture_.model).plan;
  const bool half = element_of(plan) == Element::f16;
  EXPECT_GT(difference.rows, 20);
  EXPECT_GE(difference.same_top, difference.rows * 9 / 10);
  if (has_experts(plan)) {
    EXPECT_LT(difference.median_divergence, half ? 1e-4 : 1e-3);
    EXPECT_LT(difference.mean_divergence, 2e-2);
    return;
  }
  EXPECT_LT(difference.largest_logprob, half ? 0.1 : 0.4);
  EXPECT_LT(difference.largest_divergence, half ? 1e-3 : 1e-2);
}

TEST_P(CudaModel, GivesTheSameBitsInChunksAndInCompany) {
  const auto runner = open(fixture_);
  const auto alone = golden::run(*runner, fixture_.prompts);
  const Schedule schedules[] = {{.chunk = 1},
                                {.chunk = 5},
                                {.together = 7, .chunk = 20},
                                {.together = 100, .chunk = 3},
                                {.together = 3, .chunk = 9, .scattered_blocks = true}};
  for (const Schedule& schedule : schedules) {
    EXPECT_EQ(golden::run(*runner, fixture_.prompts, schedule), alone)
        << schedule.together << " together, chunks of " << schedule.chunk;
  }
}

TEST_P(CudaModel, HoldsWhatWasForeseenOfIt) {
  const StepLimits limits{.rows = 512, .wanted_rows = 64};
  const RunnerMemory memory = foresee_cuda_memory(open_model(fixture_.model).plan, limits);
  const auto runner = open(fixture_);
  EXPECT_EQ(memory.weight_bytes, runner->info().weight_bytes);
  EXPECT_EQ(memory.kv, runner->info().kv);
  EXPECT_EQ(memory.state_bytes, runner->info().state_bytes);
  EXPECT_EQ(memory.block_size, runner->info().block_size);
  golden::run(*runner, fixture_.prompts, {.together = 7});
  EXPECT_LE(runner->buffer_bytes(), memory.step_bytes);
}

std::string name_of(const testing::TestParamInfo<const char*>& tested) {
  return golden::test_name(tested.param);
}

INSTANTIATE_TEST_SUITE_P(Dense, CudaModel, testing::ValuesIn(kDense), name_of);
INSTANTIATE_TEST_SUITE_P(Experts, CudaModel, testing::ValuesIn(kExperts), name_of);
INSTANTIATE_TEST_SUITE_P(DeltaNets, CudaModel, testing::ValuesIn(kDeltaNets), name_of);

// One step of one sequence; the logits of its last row.
std::vector<float> step(ModelRunner& runner, std::vector<int> tokens, int first_position,
                        const std::vector<int>& blocks, std::vector<BlockCopy> copies = {}) {
  Batch batch;
  const int rows = static_cast<int>(tokens.size());
  for (int i = 0; i < rows; ++i) batch.positions.push_back(first_position + i);
  batch.tokens = std::move(tokens);
  batch.sequences.push_back({0, rows, first_position + rows, tables_of(runner.info(), blocks)});
  batch.want_logits(rows - 1);
  batch.block_copies = std::move(copies);
  StepOutput output;
  runner.step(batch, output);
  return output.logits;
}

TEST(CudaRunner, CopiesBlocksBeforeTheStepThatWritesThem) {
  const auto runner = open(golden::load_tiny("llama3"));
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> shared = {2}, copy = {0};
  step(*runner, {1, 2, 3}, 0, shared);
  const auto own = step(*runner, {4}, 3, copy, {{.group = 0, .from = 2, .to = 0}});
  EXPECT_EQ(own, step(*runner, {4}, 3, shared));
}

TEST(CudaRunner, ForgetsTheCacheWhenItIsResized) {
  const auto runner = open(golden::load_tiny("qwen2"));
  runner->resize_cache(CacheSize::of(runner->info(), 1));
  const auto before = step(*runner, {7, 8}, 0, {0});
  runner->resize_cache(CacheSize::of(runner->info(), 9));
  EXPECT_EQ(step(*runner, {7, 8}, 0, {8}), before);
}

TEST(CudaRunner, ReadsNothingOfWhatABlockHeldBefore) {
  const auto runner = open(golden::load_tiny("qwen2"));
  runner->resize_cache(CacheSize::of(runner->info(), 2));
  const auto fresh = step(*runner, {7, 8, 9}, 0, {0});
  std::vector<int> others(16);
  for (int i = 0; i < 16; ++i) others[static_cast<std::size_t>(i)] = 20 + i;
  step(*runner, others, 0, {1});
  EXPECT_EQ(step(*runner, {7, 8, 9}, 0, {1}), fresh);
}

TEST(CudaRunner, DrawsTheMostLikelyTokenAndWhatTheSamplerWould) {
  const auto runner = open(golden::load_tiny("llama3"));
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> blocks = {1};
  const std::vector<float> logits = step(*runner, {1, 2, 3}, 0, blocks);
  Batch batch;
  batch.tokens = {1, 2, 3};
  batch.positions = {0, 1, 2};
  batch.sequences.push_back({0, 3, 3, tables_of(runner->info(), blocks)});
  batch.wanted = {{2, RowOutput::token}};
  SamplingParams greedy, warm;
  greedy.temperature = 0;
  warm.seed = 7;
  const std::vector<Draw> draws = {{.params = &greedy}, {.params = &warm, .sample = 1}};
  StepOutput output;
  runner->launch(batch);
  runner->draw(draws);
  runner->wait(output);
  ASSERT_EQ(output.drawn.size(), 2u);
  EXPECT_TRUE(output.logits.empty());
  Sampler sampler;
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<float> row = logits;
    EXPECT_EQ(output.drawn[i].token, (*sampler.draw(row, draws[i])).token);
    EXPECT_EQ(output.drawn[i].sample, static_cast<int>(i));
  }
}

TEST(CudaRunner, RefusesACacheThatTheCardHasNoMemoryFor) {
  const auto runner = open(golden::load_tiny("qwen2"));
  EXPECT_THROW(runner->resize_cache(CacheSize::of(runner->info(), 1 << 30)), std::bad_alloc);
  runner->resize_cache(CacheSize::of(runner->info(), 2));
  EXPECT_FALSE(step(*runner, {7, 8}, 0, {0}).empty());
}

}  // namespace
}  // namespace mlxd::cuda_backend
