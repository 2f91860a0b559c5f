#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/random_batches.h"
#include "backend/cpu/reference.h"
#include "backend/cpu/relative_error.h"
#include "backend/cpu/sequence_driver.h"
#include "backend/cpu/tiny_model.h"
#include "base/error.h"

namespace mlxd::cpu {
namespace {

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const char* name : {"portable", "avx2", "avx512_vnni", "amx_model", "amx", "neon",
                           "neon_dotprod", "neon_i8mm"}) {
    if (find_kernels(name)) names.push_back(name);
  }
  return names;
}

TinyModelOptions gemma_like() {
  return {.head_norms = true,
          .sandwich_norms = true,
          .window = 40,
          .softcap = 20,
          .logit_softcap = 5,
          .embedding_scale = 8,
          .activation = Activation::gelu_tanh};
}

TinyModelOptions deepseek_like() {
  return {.experts = 12,
          .choice = {.scoring = ExpertScoring::sigmoid,
                     .bias = {0.3f, -0.2f, 0, 0.1f, 0.2f, -0.3f, 0, 0.1f, -0.1f, 0.2f, 0, 0.1f},
                     .groups = 4,
                     .chosen_groups = 2,
                     .chosen = 3,
                     .normalised = true,
                     .scale = 2.5f},
          .expert_intermediate_size = 32,
          .shared_expert = true};
}

TinyModelOptions gemma4_dense() {
  return {.layers = 3,
          .head_norms = true,
          .sandwich_norms = true,
          .window = 40,
          .logit_softcap = 10,
          .activation = Activation::gelu_tanh,
          .other_head_dim = 32,
          .keys_are_values = true,
          .value_norms = true,
          .stream_scale = 0.7f};
}

TinyModelOptions gemma4_small() {
  TinyModelOptions options = gemma4_dense();
  options.layers = 6;
  options.sharing_layers = 3;
  options.layer_input_size = 32;
  return options;
}

TinyModelOptions gemma4_experts() {
  TinyModelOptions options = gemma4_dense();
  options.experts = 5;
  options.choice = {.scoring = ExpertScoring::softmax_chosen,
                    .chosen = 2,
                    .expert_scales = {0.5f, 1, 1.5f, 0.8f, 1.2f}};
  options.shared_expert = true;
  options.norms_apart = true;
  options.gate_and_up_in_one = true;
  return options;
}

struct Flavour {
  const char* name;
  TinyModelOptions options;
};

const Flavour kFlavours[] = {
    {"Llama", {}},
    {"InterleavedRope", {.interleaved = true}},
    {"InterleavedRopeWithBiasAndHeadNorms",
     {.interleaved = true, .bias = true, .head_norms = true}},
    {"PartialInterleavedRope", {.rotated = 8, .interleaved = true, .rope_magnitude = 1.2f}},
    {"QwenBias", {.bias = true, .tied = false}},
    {"HeadNorms", {.head_norms = true}},
    {"RopeInEveryOtherLayer", {.rope = false}},
    {"NormsAfterAndOverRows",
     {.row_norms = true, .input_norms = false, .sandwich_norms = true, .window = 40}},
    {"InterleavedRopeWithRowNorms", {.interleaved = true, .row_norms = true}},
    {"ResidualScale", {.residual_scale = 0.22f}},
    {"ResidualScaleAfterNorms", {.sandwich_norms = true, .residual_scale = 0.5f}},
    {"Temperature", {.temperature = PositionTemperature{.beta = 0.5f, .length = 32}}},
    {"Gemma", gemma_like()},
    {"WindowAcrossPartitions", {.window = 100}},
    {"OneKvHead", {.heads = 6, .kv_heads = 1, .head_dim = 32, .rotated = 32}},
    {"GroupsOfOddWidth", {.heads = 2, .kv_heads = 2, .head_dim = 48, .rotated = 48}},
    {"LargeHeads", {.heads = 2, .kv_heads = 2, .head_dim = 80, .rotated = 64}},
    {"OddVocabulary", {.vocab_size = 37, .logit_softcap = 5}},
    {"GatedHeads", {.interleaved = true, .head_norms = true, .gated = true}},
    {"DeltaNet", {.layers = 4, .recurrent = Recurrent::delta_net}},
    {"DeltaNetInTheLastLayer", {.layers = 3, .gated = true, .recurrent = Recurrent::delta_net}},
    {"DeltaNetWithTiledHeads",
     {.layers = 3,
      .recurrent = Recurrent::delta_net,
      .key_heads = 2,
      .value_heads = 6,
      .value_dim = 16,
      .tiled = true}},
    {"Latents", {.layers = 3, .bias = true, .latent_rank = 64}},
    {"LatentsAndQueriesOfFewNumbers",
     {.heads = 2,
      .rotated = 32,
      .interleaved = true,
      .temperature = PositionTemperature{.beta = 0.5f, .length = 32},
      .residual_scale = 0.5f,
      .rope_magnitude = 1.2f,
      .latent_rank = 32,
      .query_rank = 64}},
    {"ShortConvolution", {.layers = 4, .recurrent = Recurrent::short_convolution}},
    {"ShortConvolutionInTheLastLayer",
     {.layers = 3, .bias = true, .recurrent = Recurrent::short_convolution}},
    {"Mamba2", {.layers = 4, .residual_scale = 0.5f, .recurrent = Recurrent::mamba2}},
    {"Mamba2InTheLastLayer",
     {.layers = 3,
      .bias = true,
      .recurrent = Recurrent::mamba2,
      .key_heads = 2,
      .value_heads = 6,
      .key_dim = 32,
      .value_dim = 16,
      .norm_groups = 2}},
    {"SquaredReluWithoutAGate",
     {.activation = Activation::squared_relu,
      .experts = 6,
      .choice = {.scoring = ExpertScoring::sigmoid, .chosen = 2, .normalised = true, .scale = 0.3f},
      .shared_expert = true}},
    {"Experts", {.experts = 6, .choice = {.chosen = 2}}},
    {"NormalisedExperts",
     {.bias = true, .experts = 6, .choice = {.chosen = 3, .normalised = true}}},
    {"ExpertsByTheSoftmaxOfThoseChosen",
     {.experts = 5,
      .choice = {.scoring = ExpertScoring::softmax_chosen, .chosen = 2},
      .shared_expert = true}},
    {"ExpertsInGroupsBesideASharedOne", deepseek_like()},
    {"ExpertsInGroupsRankedByTheirBest",
     {.experts = 12,
      .choice = {.groups = 4, .chosen_groups = 2, .groups_by_best = true, .chosen = 3}}},
    {"HeadsByLayer", {.window = 40, .other_head_dim = 48}},
    {"KeysThatAreNormedValues", gemma4_dense()},
    {"SharedCachesAndInputsOfLayers", gemma4_small()},
    {"ExpertsAndTheirRouterAndTheSharedOneNormedApart", gemma4_experts()},
    {"SinksAndClampedExperts",
     {.bias = true,
      .window = 40,
      .activation = Activation::clamped_swiglu,
      .sinks = true,
      .experts = 6,
      .choice = {.scoring = ExpertScoring::softmax_chosen, .chosen = 2}}},
    {"ExpertsByTheRootOfTheSoftplus",
     {.sandwich_norms = true,
      .activation = Activation::gelu_tanh,
      .experts = 8,
      .choice = {.scoring = ExpertScoring::sqrt_softplus, .chosen = 8, .normalised = true},
      .shared_expert = true,
      .weighed_shared_expert = true}},
};

class RunnerFlavours : public testing::TestWithParam<Flavour> {};

TEST_P(RunnerFlavours, FloatWeightsGiveTheLogitsOfAPlainForwardPass) {
  const ModelPlan plan = tiny_model(GetParam().options);
  const std::vector<int> tokens = random_tokens(150, 7, plan.config.vocab_size);
  const std::vector<Row> expected = Reference(plan).logits(tokens);
  for (const std::string& isa : instruction_sets()) {
    const auto runner = make_cpu_runner(plan, {.threads = 2, .isa = isa});
    SequenceDriver driver(*runner, 16);
    driver.add(tokens);
    for (const int chunk : {70, 1, 2, 60, 1, 16}) {
      for (const auto& [row, logits] : driver.step({{0, chunk}})) {
        // Less than a rounding of one key or value to 16 bits the other way makes.
        EXPECT_LT(relative_error(logits, expected[row.second]), 1e-3)
            << isa << ", position " << row.second;
      }
    }
  }
}

TEST_P(RunnerFlavours, QuantizedWeightsComeNearAPlainForwardPass) {
  for (const Encoding encoding : {Encoding::q8_0, Encoding::q4_1}) {
    TinyModelOptions options = GetParam().options;
    options.encoding = encoding;
    const ModelPlan plan = tiny_model(options);
    const std::vector<int> tokens = random_tokens(80, 9, plan.config.vocab_size);
    const std::vector<Row> expected = Reference(plan).logits(tokens);
    const auto runner = make_cpu_runner(plan, {.threads = 2});
    SequenceDriver driver(*runner, 8);
    driver.add(tokens);
    std::vector<double> errors;
    for (const auto& [row, logits] : driver.step({{0, 80}})) {
      errors.push_back(relative_error(logits, expected[row.second]));
    }
    ASSERT_EQ(errors.size(), 80u);
    // Activations of 8 bits, some 1% of noise in each of nine products one after the other. A row
    // whose experts are nearly equal may go to others, and is then far off: most are not.
    std::ranges::sort(errors);
    const double error = options.experts > 0
                             ? errors[errors.size() / 2]
                             : std::accumulate(errors.begin(), errors.end(), 0.0) / 80;
    // The norms of a delta net's keys and heads make more of it; latents pass through more
    // products.
    const double bound = options.recurrent != Recurrent::none             ? 0.08
                         : options.experts > 0 || options.latent_rank > 0 ? 0.06
                                                                          : 0.045;
    EXPECT_LT(error, bound) << to_string(Quantization{encoding});
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, RunnerFlavours, testing::ValuesIn(kFlavours),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Runner, ARowGivesTheSameBitsInAnyBatchOnAnyNumberOfThreads) {
  TinyModelOptions quantized = gemma_like();
  quantized.encoding = Encoding::q4_1;
  TinyModelOptions experts = deepseek_like();
  experts.encoding = Encoding::q8_0;
  TinyModelOptions recurrent{
      .encoding = Encoding::q8_0, .layers = 3, .recurrent = Recurrent::delta_net};
  TinyModelOptions convolutions = recurrent, mamba = recurrent;
  convolutions.recurrent = Recurrent::short_convolution;
  mamba.recurrent = Recurrent::mamba2;
  const TinyModelOptions latents{
      .encoding = Encoding::q8_0, .bias = true, .latent_rank = 64, .query_rank = 32};
  for (const TinyModelOptions& model : {quantized, experts, recurrent, convolutions, mamba, latents,
                                        TinyModelOptions{.bias = true}}) {
    const ModelPlan plan = tiny_model(model);
    const unsigned seeds = model.experts > 0 || model.recurrent != Recurrent::none ? 6 : 24;
    const std::vector<std::vector<int>> prompts = {random_tokens(200, 1), random_tokens(70, 2),
                                                   random_tokens(131, 3), random_tokens(20, 4),
                                                   random_tokens(64, 5),  random_tokens(90, 6)};
    for (const std::string& isa : instruction_sets()) {
      const KvFormat format = model.bias ? KvFormat::int8 : KvFormat::f16;
      const SequenceDriver::Logits expected = alone(plan, isa, prompts, format);
      int steps = 0;
      for (unsigned seed = 0; seed < seeds; ++seed) {
        const int threads = static_cast<int>(seed % 3) + 1;
        const int block_size = seed % 4 == 3 ? 48 : 16;
        steps +=
            run_random_batches(plan, {threads, isa, block_size, format}, seed, prompts, expected);
        if (HasFailure()) return;
      }
      EXPECT_GT(steps, 20 * static_cast<int>(seeds));
    }
  }
}

TEST(Runner, TheContextOfOneSequenceIsSharedOutWithoutChangingItsBits) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q8_0, .kv_heads = 1, .window = 500});
  const std::vector<int> tokens = random_tokens(1500, 3);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    const auto runner = make_cpu_runner(plan, {.threads = threads});
    SequenceDriver driver(*runner, 100, threads);
    driver.add(tokens);
    while (driver.left(0) > 1) driver.step({{0, std::min(driver.left(0) - 1, 400)}});
    results.push_back(driver.step({{0, 1}}).begin()->second);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Runner, AForkedSequenceGoesOnFromACopyOfItsLastBlock) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q4_1});
  const std::vector<int> prompt = random_tokens(53, 1);
  const std::vector<int> first = random_tokens(20, 2), second = random_tokens(20, 3);
  const auto joined = [&](const std::vector<int>& rest) {
    std::vector<int> tokens = prompt;
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    return tokens;
  };
  const auto expected = alone(plan, "", {joined(first), joined(second)});
  const auto runner = make_cpu_runner(plan, {.threads = 2});
  SequenceDriver driver(*runner, 16);
  const int parent = driver.add(joined(first), prompt_length(joined(first)));
  driver.step({{parent, 53}});
  const int child = driver.fork(parent, second);
  for (int i = 0; i < 20; ++i) {
    for (const auto& [row, logits] : driver.step({{parent, 1}, {child, 1}})) {
      EXPECT_EQ(logits, expected.at(row)) << row.first << " at " << row.second;
    }
  }
}

TEST(Runner, NumbersOutOfRangeStayInTheSequenceThatBroughtThem) {
  const ModelPlan plan = tiny_model({.tied = false});
  // Token 0 is not a number, token 1 is beyond what a 16-bit float holds.
  auto* table = reinterpret_cast<float*>(const_cast<std::byte*>(plan.embed.table.data.data()));
  std::fill_n(table, 64, std::nanf(""));
  std::fill_n(table + 64, 64, 1e30f);
  std::vector<int> good = random_tokens(40, 1);
  for (int& token : good) token = std::max(token, 2);
  const auto runner = make_cpu_runner(plan, {.threads = 2});
  SequenceDriver driver(*runner, 3);
  const auto expected = [&] {
    const int sequence = driver.add(good);
    auto logits = driver.step({{sequence, 40}});
    driver.release(sequence);
    return logits.rbegin()->second;
  }();
  const int bad = driver.add({0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1});
  driver.step({{bad, 20}});
  driver.release(bad);  // its blocks, and what is in them, go to the next
  const int next = driver.add(good);
  driver.step({{next, 20}});
  EXPECT_EQ(driver.step({{next, 20}}).rbegin()->second, expected);
}

// Another sequence takes the blocks that a window has let go of, and writes what it likes to them.
TEST(Runner, LayersWithAWindowNeedNoMoreThanTheirWindow) {
  for (const KvFormat format : {KvFormat::f16, KvFormat::int8}) {
    for (const int window : {1, 16, 40, 100}) {
      const ModelPlan plan = tiny_model({.window = window});
      const auto runner = make_cpu_runner(plan, {.threads = 2, .kv_format = format});
      ASSERT_EQ(runner->info().kv.size(), 2u);
      EXPECT_EQ(runner->info().kv[0].window, 0);
      EXPECT_EQ(runner->info().kv[1].window, window);
      const std::vector<int> tokens = random_tokens(500, 3), other = random_tokens(500, 4);
      SequenceDriver whole(*runner, 70);
      whole.add(tokens);
      SequenceDriver::Logits expected;
      while (whole.left(0) > 0) expected.merge(whole.step({{0, std::min(whole.left(0), 50)}}));

      const int held = (window - 1) / 16 + 2 + 2;  // beside what a step of 25 rows adds
      SequenceDriver driver(*runner, {{70, 2 * held}, 0});
      driver.let_windows_go();
      driver.add(tokens);
      driver.add(other);
      for (int step = 0; driver.left(0) > 0; ++step) {
        const int rows = std::min(driver.left(0), 1 + step % 25);
        for (const auto& [row, logits] : driver.step({{0, rows}, {1, rows}})) {
          if (row.first == 1) continue;
          ASSERT_EQ(logits, expected.at(row)) << "window " << window << ", row " << row.second;
        }
      }
    }
  }
}

TEST(Runner, AStepMayBeRepeated) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q8_0});
  const auto runner = make_cpu_runner(plan, {.threads = 2});
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> blocks = {2, 0};
  Batch batch;
  batch.tokens = {3, 4, 5, 6, 7, 8};
  batch.positions = {0, 1, 2, 3, 4, 5};
  batch.sequences = {{0, 6, 6, tables_of(runner->info(), blocks)}};
  for (const int row : {2, 5}) batch.want_logits(row);
  StepOutput first, second;
  runner->step(batch, first);
  runner->step(batch, second);
  EXPECT_EQ(first.logits, second.logits);
}

TEST(Runner, AStepWithoutLogitsFillsTheCacheAndGivesNone) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q8_0});
  const std::vector<int> tokens = random_tokens(40, 1);
  const auto expected = alone(plan, "", {tokens});
  const auto runner = make_cpu_runner(plan, {.threads = 2});
  SequenceDriver driver(*runner, 4);
  driver.add(tokens, prompt_length(tokens));
  for (const int count : {2, 30, 3}) {
    EXPECT_THAT(driver.step({{0, count}}, [](int) { return false; }), testing::IsEmpty());
  }
  for (const auto& [row, logits] : driver.step({{0, 5}})) EXPECT_EQ(logits, expected.at(row));
}

TEST(Runner, SaysWhatItHolds) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q8_0, .tied = true});
  const ModelPlan untied = tiny_model({.encoding = Encoding::q8_0, .tied = false});
  const auto runner = make_cpu_runner(plan, {.threads = 1, .isa = "portable", .block_size = 32});
  const RunnerInfo& info = runner->info();
  EXPECT_EQ(info.backend, "cpu");
  EXPECT_EQ(info.instruction_set, "portable");
  EXPECT_EQ(info.vocab_size, 50);
  EXPECT_EQ(info.context_length, 4096);
  EXPECT_EQ(info.block_size, 32);
  // 2 layers, keys and values of 2 heads of 16 numbers of 2 bytes.
  EXPECT_EQ(info.block_bytes(), 2u * 2 * 2 * 16 * 2 * 32);
  EXPECT_GT(make_cpu_runner(untied, {.threads = 1, .isa = "portable"})->info().weight_bytes,
            info.weight_bytes);
}

TEST(Runner, HoldsWhatWasForeseenOfIt) {
  struct Form {
    Encoding encoding;
    KvFormat format;
    const char* isa;
  };
  std::vector<Form> forms = {{Encoding::f32, KvFormat::f16, ""},
                             {Encoding::q8_0, KvFormat::int8, ""},
                             {Encoding::q4_1, KvFormat::f16, ""}};
  if (find_kernels("amx_model")) forms.push_back({Encoding::q4_1, KvFormat::f16, "amx_model"});
  for (const Flavour& flavour : kFlavours) {
    for (const auto& [encoding, format, isa] : forms) {
      // The unit's memory is the same whatever the flavour, and its model slow.
      if (*isa != '\0' && &flavour != std::begin(kFlavours)) continue;
      TinyModelOptions model = flavour.options;
      model.encoding = encoding;
      const ModelPlan plan = tiny_model(model);
      const CpuOptions options{.threads = 1, .isa = isa, .block_size = 32, .kv_format = format};
      const StepLimits limits{.rows = 64, .wanted_rows = 20};
      const RunnerMemory memory = foresee_cpu_memory(plan, options, limits);
      const auto runner = make_cpu_runner(plan, options);
      const RunnerInfo& info = runner->info();
      EXPECT_EQ(memory.weight_bytes, info.weight_bytes) << flavour.name;
      EXPECT_EQ(memory.kv, info.kv) << flavour.name;
      EXPECT_EQ(memory.block_size, info.block_size) << flavour.name;
      // The largest step, at the end of the context.
      SequenceDriver driver(*runner, 4096 / 32);
      driver.add(random_tokens(4096, 1, info.vocab_size), /*prompt_length=*/4096);
      const auto last = [](int row) { return row >= 64 - 20; };
      while (driver.left(0) > 0) driver.step({{0, 64}}, last);
      const std::size_t logits = std::size_t{20} * info.vocab_size * sizeof(float);
      EXPECT_LE(runner->buffer_bytes() + logits, memory.step_bytes) << flavour.name;
      EXPECT_GT(runner->buffer_bytes() * 1.25 + 65536, memory.step_bytes) << flavour.name;
    }
  }
}

TEST(Runner, RefusesWhatItCannotRun) {
  EXPECT_THROW(make_cpu_runner(tiny_model({}), {.isa = "abacus"}), StartupError);
  EXPECT_THROW(make_cpu_runner(tiny_model({}), {.block_size = 8}), LoadError);
  EXPECT_THROW(make_cpu_runner(tiny_model({.heads = 4, .head_dim = 24}), {}), LoadError);
  ModelPlan plan = tiny_model({});
  std::get<FeedForwardBlock>(plan.blocks[1]).down.weight.rows = 48;
  EXPECT_THROW(make_cpu_runner(plan, {}), LoadError);
  plan = tiny_model({});
  plan.head.norm.weight.pop_back();
  EXPECT_THROW(make_cpu_runner(plan, {}), LoadError);
  EXPECT_THROW(make_cpu_runner(ModelPlan{}, {}), LoadError);
  EXPECT_THROW(make_cpu_runner(tiny_model({.latent_rank = 48}), {}), LoadError);
}

TEST(RunnerDeathTest, ABatchThatBreaksTheContractEndsTheProgram) {
  const auto runner = make_cpu_runner(tiny_model({}), {.threads = 1});
  runner->resize_cache(CacheSize::of(runner->info(), 4));
  const std::vector<int> blocks = {4};
  Batch batch;
  batch.tokens = {1};
  batch.positions = {0};
  batch.sequences = {{0, 1, 1, tables_of(runner->info(), blocks)}};
  StepOutput output;
  EXPECT_DEATH(runner->step(batch, output), "blocks of the cache");
}

}  // namespace
}  // namespace mlxd::cpu
