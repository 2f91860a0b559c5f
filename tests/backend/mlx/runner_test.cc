// The mlx backend over tiny committed models: every architecture and MLX format, on the CPU.
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/mlx/mlx_backend.h"
#include "base/error.h"
#include "golden/golden.h"
#include "model/model_files.h"

namespace mlxd::mlx_backend {
namespace {

using golden::Difference;
using golden::Fixture;
using golden::Schedule;

std::unique_ptr<ModelRunner> open(const Fixture& fixture) {
  MlxOptions options;
  options.device = "cpu";
  options.block_size = 4;
  return make_mlx_runner(open_model(fixture.model).plan, options);
}

class TinyModel : public testing::TestWithParam<const char*> {
 protected:
  const Fixture fixture_ = golden::load_tiny(GetParam());
};

TEST_P(TinyModel, AgreesWithMlxLm) {
  const Difference difference = golden::compare(*open(fixture_), fixture_.prompts);
  SCOPED_TRACE(testing::PrintToString(difference));
  EXPECT_GT(difference.rows, 20);
  EXPECT_EQ(difference.same_top, difference.rows);
  EXPECT_LT(difference.largest_logprob, 1e-4);
  EXPECT_LT(difference.largest_logsumexp, 1e-4);
}

TEST_P(TinyModel, GivesAPromptTheSameLogitsInChunksAsWhole) {
  const auto runner = open(fixture_);
  const auto whole = golden::run(*runner, fixture_.prompts);
  for (const int chunk : {1, 5, 16}) {
    const auto parts = golden::run(*runner, fixture_.prompts, Schedule{.chunk = chunk});
    EXPECT_LT(golden::largest_difference(whole, parts), 1e-4) << "chunks of " << chunk;
  }
}

TEST_P(TinyModel, GivesASequenceTheSameLogitsInABatchOfOtherLengthsAsAlone) {
  const auto runner = open(fixture_);
  const auto alone = golden::run(*runner, fixture_.prompts);
  const auto batched = golden::run(*runner, fixture_.prompts, Schedule{.together = 7, .chunk = 20});
  EXPECT_LT(golden::largest_difference(alone, batched), 1e-4);
}

TEST_P(TinyModel, ReadsTheSameThroughScatteredBlocks) {
  const auto runner = open(fixture_);
  const auto run_on = golden::run(*runner, fixture_.prompts, Schedule{.together = 3, .chunk = 9});
  const auto scattered = golden::run(*runner, fixture_.prompts,
                                     Schedule{.together = 3, .chunk = 9, .scattered_blocks = true});
  EXPECT_LT(golden::largest_difference(run_on, scattered), 1e-5);
}

std::string name_of(const testing::TestParamInfo<const char*>& tested) {
  return golden::test_name(tested.param);
}

INSTANTIATE_TEST_SUITE_P(Floats, TinyModel, testing::ValuesIn(golden::kTinyFloats), name_of);
INSTANTIATE_TEST_SUITE_P(Gguf, TinyModel, testing::ValuesIn(golden::kTinyGguf), name_of);
INSTANTIATE_TEST_SUITE_P(GgufTypes, TinyModel, testing::ValuesIn(golden::kTinyTypes), name_of);
INSTANTIATE_TEST_SUITE_P(SmallFloats, TinyModel, testing::ValuesIn(golden::kTinySmallFloats),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Affine, TinyModel, testing::ValuesIn(golden::kTinyAffine), name_of);
INSTANTIATE_TEST_SUITE_P(AffineRecurrent, TinyModel,
                         testing::ValuesIn(golden::kTinyAffineRecurrent), name_of);

// One step of one sequence; the logits of its last row.
std::vector<float> step(ModelRunner& runner, std::vector<int> tokens, int first_position,
                        const std::vector<int>& blocks,
                        std::vector<std::pair<int, int>> copies = {}) {
  Batch batch;
  const int rows = static_cast<int>(tokens.size());
  for (int i = 0; i < rows; ++i) batch.positions.push_back(first_position + i);
  batch.tokens = std::move(tokens);
  batch.sequences.push_back({0, rows, first_position + rows, tables_of(runner.info(), blocks)});
  batch.want_logits(rows - 1);
  for (const auto& [from, to] : copies) {
    for (int group = 0; group < static_cast<int>(runner.info().kv.size()); ++group) {
      batch.block_copies.push_back({group, from, to});
    }
  }
  StepOutput output;
  runner.step(batch, output);
  return output.logits;
}

TEST(MlxRunner, CopiesBlocksBeforeTheStepThatWritesThem) {
  const auto runner = open(golden::load_tiny("llama3"));
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> shared = {2}, copy = {0};
  step(*runner, {1, 2, 3}, 0, shared);
  const auto own = step(*runner, {4}, 3, copy, {{2, 0}});  // goes on in a copy
  const auto original = step(*runner, {4}, 3, shared);     // the shared block is as it was
  EXPECT_EQ(own, original);
}

TEST(MlxRunner, MayRepeatAStep) {
  const auto runner = open(golden::load_tiny("qwen3"));
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> blocks = {3, 1};
  step(*runner, {1, 2, 3}, 0, blocks);
  const auto first = step(*runner, {4, 5}, 3, blocks);
  EXPECT_EQ(step(*runner, {4, 5}, 3, blocks), first);
}

TEST(MlxRunner, ForgetsTheCacheWhenItIsResized) {
  const auto runner = open(golden::load_tiny("qwen2"));
  runner->resize_cache(CacheSize::of(runner->info(), 1));
  const auto before = step(*runner, {7, 8}, 0, {0});
  runner->resize_cache(CacheSize::of(runner->info(), 9));
  EXPECT_LT(golden::largest_difference({{before}}, {{step(*runner, {7, 8}, 0, {8})}}), 1e-5);
}

TEST_P(TinyModel, HoldsWhatWasForeseenOfIt) {
  const MlxOptions options{.block_size = 4, .device = "cpu"};
  const RunnerMemory memory =
      foresee_mlx_memory(open_model(fixture_.model).plan, options, {.rows = 32, .wanted_rows = 8});
  const RunnerInfo info = open(fixture_)->info();
  EXPECT_EQ(memory.weight_bytes, info.weight_bytes);
  EXPECT_EQ(memory.kv, info.kv);
  EXPECT_EQ(memory.block_size, info.block_size);
}

TEST(MlxRunner, SaysWhatItHolds) {
  const auto runner = open(golden::load_tiny("gemma3"));
  EXPECT_EQ(runner->info().backend, "mlx");
  EXPECT_EQ(runner->info().vocab_size, 272);
  EXPECT_EQ(runner->info().context_length, 256);
  EXPECT_EQ(runner->info().block_size, 4);
  // 3 layers of keys and values, 4 tokens, one head of 16 floats.
  EXPECT_EQ(runner->info().block_bytes(), 3u * 2 * 4 * 16 * 4);
  EXPECT_GT(runner->info().weight_bytes, 100'000u);
}

TEST(MlxRunner, LivesOnAnyOneThreadWithOthersOnTheirs) {
  const Fixture fixture = golden::load_tiny("llama3");
  const auto agree = [&] {
    const auto first = open(fixture), second = open(fixture);  // two models of one thread
    for (const auto& runner : {first.get(), second.get()}) {
      EXPECT_LT(golden::compare(*runner, fixture.prompts).largest_logprob, 1e-4);
    }
  };
  std::thread one(agree), other(agree);
  one.join();
  other.join();
  std::thread(agree).join();
}

TEST(MlxRunner, RefusesADeviceThatItDoesNotKnow) {
  MlxOptions options;
  options.device = "tpu";
  const auto files = open_model(golden::load_tiny("llama3").model);
  EXPECT_THROW(make_mlx_runner(files.plan, options), StartupError);
}

}  // namespace
}  // namespace mlxd::mlx_backend
