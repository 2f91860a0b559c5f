// What the cuda backend makes of plans and batches before a card is touched.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/matrix_plan.h"
#include "backend/cuda/step_layout.h"
#include "base/error.h"
#include "golden/golden.h"
#include "model/model_files.h"

namespace mlxd::cuda_backend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const char* model) {
  try {
    check_plan(open_model(golden::load_tiny(model).model).plan);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}

TEST(CudaPlan, RefusesKindsOfLayersByName) {
  EXPECT_THAT(refusal("deepseek-v3"), HasSubstr("latent attention"));
  EXPECT_THAT(refusal("lfm2"), HasSubstr("short convolutions"));
  EXPECT_THAT(refusal("granite-hybrid"), HasSubstr("Mamba-2"));
  EXPECT_THAT(refusal("gemma4-shared"), HasSubstr("--backend cpu"));
  for (const char* runs : {"llama3", "mixtral", "gpt-oss", "qwen3-next"}) {
    EXPECT_EQ(refusal(runs), "") << runs;
  }
}

TEST(CudaPlan, ComputesInTheTypeOfTheFile) {
  const auto element = [](const char* model) {
    return element_of(open_model(golden::load_tiny(model).model).plan);
  };
  EXPECT_EQ(element("llama3"), Element::f16);
  EXPECT_EQ(element("qwen2"), Element::bf16);
  EXPECT_EQ(element("phi3-4bit"), Element::bf16);  // of its scales
  EXPECT_EQ(element("gguf-types.gguf"), Element::f16);
}

TEST(CudaPlan, PutsGateAndUpInTurnsOfEightRows) {
  const ModelFiles files = open_model(golden::load_tiny("llama3").model);
  const auto& block = std::get<FeedForwardBlock>(files.plan.blocks[1]);
  const MatrixPlan plan = plan_hidden(block.gate, block.up, Element::f16);
  const auto rows = plan.rows();
  ASSERT_EQ(rows.size(), static_cast<std::size_t>(plan.shape.rows));
  EXPECT_EQ(rows[7].tensor, &block.gate->weight);
  EXPECT_EQ(rows[8].tensor, &block.up.weight);
  EXPECT_EQ(rows[8].row, 0);
  EXPECT_EQ(rows[16].tensor, &block.gate->weight);
  EXPECT_EQ(rows[16].row, 8);
}

TEST(CudaPlan, PutsAnExpertsMatrixBeforeTheNextsInWholeTiles) {
  const ModelFiles files = open_model(golden::load_tiny("qwen3-moe").model);
  const auto& block = std::get<ExpertsBlock>(files.plan.blocks[1]);
  ASSERT_EQ(block.experts, 8);
  ASSERT_EQ(block.intermediate_size(), 32);
  const MatrixPlan into = plan_hidden(block.gate, block.up, Element::f16, block.experts);
  const auto rows = into.rows();
  ASSERT_EQ(rows.size(), 8u * 64);
  EXPECT_EQ(into.shape.rows, 8 * 64);
  EXPECT_EQ(rows[64].tensor, &block.gate->weight);
  EXPECT_EQ(rows[64].row, 32);
  EXPECT_EQ(rows[64 + 8].tensor, &block.up.weight);
  EXPECT_EQ(rows[64 + 8].row, 32);

  Linear narrow = block.down;  // 8 experts of 6 rows, each of which fills a tile alone
  narrow.rows = {.first = 0, .count = 6, .stride = 32};
  const MatrixPlan filled = plan_experts(narrow, Element::f16, 8);
  EXPECT_EQ(filled.shape.rows, 8 * 16);
  EXPECT_EQ(filled.rows()[6].tensor, nullptr);
  EXPECT_EQ(filled.rows()[16].row, 32);
}

TEST(CudaPlan, ForeseesATiedHeadOnce) {
  const StepLimits limits{.rows = 64, .wanted_rows = 8};
  const ModelFiles files = open_model(golden::load_tiny("qwen2").model);
  ModelPlan untied = files.plan;
  const std::size_t before = foresee_cuda_memory(untied, limits).weight_bytes;
  const Tensor table = untied.embed.table;
  const std::vector<std::byte> copy(table.data.begin(), table.data.end());
  untied.head.weight.weight = table;
  untied.embed.table.data = copy;
  const std::size_t apart = foresee_cuda_memory(untied, limits).weight_bytes;
  untied.embed.table.data = table.data;
  EXPECT_EQ(apart - foresee_cuda_memory(untied, limits).weight_bytes,
            packed_shape(table, Element::bf16).bytes());
  EXPECT_LE(before, apart);
}

TEST(CudaPlan, SaysWhyItCannotRunWithoutACard) {
  if (missing_card().empty()) GTEST_SKIP() << "there is a card";
  const ModelFiles files = open_model(golden::load_tiny("llama3").model);
  try {
    make_cuda_runner(files.plan);
    FAIL() << "no StartupError";
  } catch (const StartupError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--backend cpu"));
  }
}

TEST(CudaStepLayout, CutsSequencesIntoTilesAndNamesTheirSlots) {
  Batch batch;
  batch.tokens = {5, 6, 7, 8};
  batch.positions = {15, 16, 17, 3};
  const std::vector<int> first = {4, 2}, second = {9};
  BatchSequence a{.first_row = 0, .query_length = 3, .context_length = 18};
  a.blocks[0] = first;
  BatchSequence b{.first_row = 3, .query_length = 1, .context_length = 4};
  b.blocks[0] = second;
  batch.sequences = {a, b};
  batch.want_logits(2);
  StepLayout layout(1, {{.rows = 2, .group = 0}});
  layout.build(batch);
  const auto at = [&](std::size_t first_index, std::size_t count) {
    const auto part = layout.numbers().subspan(first_index, count);
    return std::vector<int>(part.begin(), part.end());
  };
  EXPECT_THAT(at(layout.tokens(), 4), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(at(layout.slots(0), 4), ElementsAre(4 * 16 + 15, 2 * 16, 2 * 16 + 1, 9 * 16 + 3));
  EXPECT_THAT(at(layout.tables(0), 3), ElementsAre(4, 2, 9));
  EXPECT_THAT(at(layout.wanted(), 1), ElementsAre(2));
  ASSERT_EQ(layout.tiles()[0].count, 3);
  EXPECT_THAT(at(layout.tiles()[0].first, 12), ElementsAre(0, 2, 15, 0, 2, 1, 17, 0, 3, 1, 3, 2));
  EXPECT_EQ(layout.largest_context(), 18);
}

TEST(CudaStepLayout, TellsWhereSequencesGoOnFromAndWhatTheySave) {
  Batch batch;
  batch.tokens = {5, 6, 7};
  batch.positions = {8, 9, 0};
  const std::vector<int> blocks = {0};
  const std::vector<StateSave> first = {{.after_row = 0, .slot = 4}, {.after_row = 1, .slot = 2}};
  const std::vector<StateSave> second = {{.after_row = 2, .slot = 1}};
  BatchSequence a{.first_row = 0, .query_length = 2, .context_length = 10};
  BatchSequence b{.first_row = 2, .query_length = 1, .context_length = 1};
  a.blocks[0] = b.blocks[0] = blocks;
  a.state = 2;
  a.saves = first;
  b.saves = second;
  batch.sequences = {a, b};
  StepLayout layout(1, {}, true);
  layout.build(batch);
  const auto at = [&](std::size_t first_index, std::size_t count) {
    const auto part = layout.numbers().subspan(first_index, count);
    return std::vector<int>(part.begin(), part.end());
  };
  EXPECT_THAT(at(layout.sequence_of(), 3), ElementsAre(0, 0, 1));
  EXPECT_THAT(at(layout.sequences(), 10), ElementsAre(0, 2, 2, 0, 2, 2, 1, -1, 2, 1));
  EXPECT_THAT(at(layout.saves(), 6), ElementsAre(0, 4, 1, 2, 2, 1));
  const std::size_t tables = layout.tables(0);
  batch.sequences[0].saves = std::span(first).last(1);
  layout.build(batch);
  EXPECT_EQ(layout.tables(0), tables);  // whether two are saved or one
}

}  // namespace
}  // namespace mlxd::cuda_backend
