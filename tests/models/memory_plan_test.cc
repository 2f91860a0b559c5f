#include "models/memory_plan.h"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kGiB = std::size_t{1} << 30;

// A model whose KV cache takes `token` KiB a token and never needs more than `most` GiB.
ModelMemory model_of(std::string name, std::size_t weights, std::size_t token,
                     std::size_t most = 1024) {
  ModelMemory model;
  model.name = std::move(name);
  model.weights = weights * kGiB;
  model.buffers = kGiB / 4;
  model.block_tokens = 16;
  model.kv_block = token * 1024 * 16;
  model.kv_most = most * kGiB;
  return model;
}

SystemMemory machine(std::size_t available, std::size_t most = 1024) {
  return {available * kGiB, most * kGiB};
}

EngineSettings settings_of(double kv_cache_gb, double max_memory_gb) {
  EngineSettings settings;
  settings.kv_cache_gb = kv_cache_gb;
  settings.max_memory_gb = max_memory_gb;
  return settings;
}

std::string refusal_of(std::vector<ModelMemory> models, const EngineSettings& settings,
                       const SystemMemory& system) {
  const MemoryPlan plan = plan_memory(std::move(models), settings, system);
  EXPECT_THROW(admit(plan), StartupError);
  return plan.refusal;
}

TEST(MemoryPlan, GivesTheKvCacheAQuarterOfWhatWeightsAndBuffersLeave) {
  const MemoryPlan plan = plan_memory({model_of("a", 1, 16)}, {}, machine(9));
  EXPECT_EQ(plan.weights_and_buffers(), kGiB + kGiB / 4);
  EXPECT_EQ(plan.models[0].kv_cache, (9 * kGiB - plan.weights_and_buffers()) / 4);
  EXPECT_THAT(plan.warnings, IsEmpty());
}

TEST(MemoryPlan, SharesOneQuarterAmongAllModels) {
  const MemoryPlan plan =
      plan_memory({model_of("a", 1, 16), model_of("b", 3, 16)}, {}, machine(16));
  const std::size_t rest = 16 * kGiB - 4 * kGiB - kGiB / 2;
  EXPECT_LE(plan.kv_cache(), rest / 4);
  EXPECT_GT(plan.kv_cache(), rest / 4 - kMiB);
  EXPECT_EQ(plan.models[0].kv_cache, plan.models[1].kv_cache);
}

TEST(MemoryPlan, GivesEachModelACacheOfAsManyTokens) {
  const MemoryPlan plan =
      plan_memory({model_of("small", 1, 20), model_of("large", 3, 140)}, {}, machine(32));
  const auto& [small, large] = std::tie(plan.models[0], plan.models[1]);
  EXPECT_EQ(small.kv_cache / small.kv_token(), large.kv_cache / large.kv_token());
  EXPECT_GT(large.kv_cache, 5 * kGiB);
}

TEST(MemoryPlan, GivesWhatAModelCanNeverUseToTheOthers) {
  const MemoryPlan plan =
      plan_memory({model_of("a", 1, 16), model_of("short", 1, 16, 1)}, {}, machine(64));
  EXPECT_EQ(plan.models[1].kv_cache, kGiB);
  EXPECT_GT(plan.kv_cache(), 15 * kGiB - kGiB / 2);
}

TEST(MemoryPlan, GivesEachModelTheKvCacheThatIsAskedFor) {
  const MemoryPlan plan =
      plan_memory({model_of("a", 1, 16), model_of("b", 3, 128)}, settings_of(2, 0), machine(32));
  for (const ModelMemory& model : plan.models) EXPECT_EQ(model.kv_cache, 2 * kGiB) << model.name;
  EXPECT_THAT(plan.warnings, IsEmpty());
}

TEST(MemoryPlan, KeepsAllModelsTogetherWithinTheLimit) {
  for (const double kv_cache_gb : {0.0, 6.0}) {
    const MemoryPlan plan =
        plan_memory({model_of("a", 1, 16), model_of("b", 3, 128), model_of("c", 2, 64)},
                    settings_of(kv_cache_gb, 8), machine(64));
    const std::size_t all = plan.weights_and_buffers() + plan.kv_cache();
    EXPECT_LE(all, 8 * kGiB);
    EXPECT_GT(all, 8 * kGiB - 4 * kMiB);
  }
}

TEST(MemoryPlan, WarnsWhenTheLimitCutsTheKvCacheThatIsAskedFor) {
  const MemoryPlan plan = plan_memory({model_of("a", 1, 16)}, settings_of(4, 2.25), machine(64));
  EXPECT_EQ(plan.models[0].kv_cache, kGiB);
  EXPECT_THAT(plan.warnings,
              ElementsAre(testing::AllOf(HasSubstr("--kv-cache-gb"), HasSubstr("a"),
                                         HasSubstr("4.00 GiB"), HasSubstr("leaves 1.00 GiB"))));
}

TEST(MemoryPlan, RefusesWeightsAndBuffersThatTogetherExceedTheLimit) {
  const std::vector<ModelMemory> models = {model_of("a", 1, 16), model_of("b", 3, 16)};
  const std::string refusal = refusal_of(models, settings_of(0, 4.25), machine(64));
  EXPECT_THAT(refusal, HasSubstr("a takes 1.00 GiB of weights and 0.25 GiB of buffers, "
                                 "b takes 3.00 GiB of weights and 0.25 GiB of buffers"));
  EXPECT_THAT(refusal, HasSubstr("--max-memory-gb allows 4.25 GiB"));
  for (const ModelMemory& model : models) {  // each alone fits
    admit(plan_memory({model}, settings_of(0, 4.25), machine(64)));
  }
}

TEST(MemoryPlan, RefusesALimitThatLeavesNoBlockOfKvCache) {
  const std::string refusal =
      refusal_of({model_of("a", 1, 16)}, settings_of(0, 1.2501), machine(64));
  EXPECT_THAT(refusal, HasSubstr("a is left without a KV cache"));
  EXPECT_THAT(refusal, HasSubstr("--max-memory-gb"));
}

TEST(MemoryPlan, WarnsWhenWeightsAndBuffersExceedWhatIsAvailable) {
  const MemoryPlan plan = plan_memory({model_of("a", 4, 16)}, {}, machine(4));
  EXPECT_THAT(plan.warnings, ElementsAre(testing::AllOf(HasSubstr("a takes 4.00 GiB of weights"),
                                                        HasSubstr("4.00 GiB are available"))));
  EXPECT_EQ(plan.models[0].kv_cache, kGiB / 4);  // it may still be served
}

TEST(MemoryPlan, WarnsWhenTheKvCacheThatIsAskedForExceedsWhatIsLeft) {
  const EngineSettings settings = settings_of(4, 0);
  const MemoryPlan plan = plan_memory({model_of("a", 4, 16)}, settings, machine(6));
  EXPECT_EQ(plan.models[0].kv_cache, 4 * kGiB);
  EXPECT_THAT(plan.warnings, ElementsAre(testing::AllOf(HasSubstr("may grow to 4.00 GiB"),
                                                        HasSubstr("1.75 GiB are available"),
                                                        HasSubstr("--kv-cache-gb"))));
  EXPECT_THAT(plan_memory({model_of("a", 4, 16)}, settings, machine(9)).warnings, IsEmpty());
}

TEST(MemoryPlan, OfASequenceCountsWhatWindowsKeep) {
  ModelMemory model;
  model.block_tokens = 16;
  model.kv = {{.block_bytes = 1600}, {.block_bytes = 3200, .window = 64}};
  model.kv_block = 4800;
  EXPECT_EQ(model.sequence(32), 2U * 4800);
  EXPECT_EQ(model.sequence(16'000), 1000U * 1600 + 6U * 3200);
  model.state = 7;
  EXPECT_EQ(model.sequence(16), 4807U);
}

// What the engine will make of it.
TEST(MemoryPlan, TellsHowManyTokensAKvCacheHolds) {
  ModelMemory model;
  model.block_tokens = 16;
  model.context = 1 << 16;
  model.kv = {{.block_bytes = 1600}, {.block_bytes = 3200, .window = 64}};
  model.kv_block = 4800;
  model.kv_cache = 10'000'000;
  EngineSettings settings;
  settings.max_running = 4;
  const std::size_t tokens = kv_tokens(model, settings);
  EXPECT_GE(tokens * 100, 5'000'000U) << "windows take half at most";
  EXPECT_LT(tokens * 100, 10'000'000U);
  EXPECT_EQ(tokens % 16, 0U);
  model.kv = {{.block_bytes = 3200, .window = 64}};
  EXPECT_EQ(kv_tokens(model, settings), 0U) << "no layer keeps all";
  model.kv = {{.block_bytes = 1600}};
  model.kv_cache = 160'000;
  EXPECT_EQ(kv_tokens(model, settings), 1600U);
}

TEST(MemoryPlan, RefusesWeightsThatExceedAllMemoryAndSwap) {
  const std::string refusal = refusal_of({model_of("a", 20, 16)}, {}, machine(14, 16));
  EXPECT_THAT(refusal, HasSubstr("a takes 20.00 GiB of weights"));
  EXPECT_THAT(refusal, HasSubstr("16.00 GiB"));
}

}  // namespace
}  // namespace mlxd
