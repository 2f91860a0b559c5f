// Encoders on the cpu backend: what transformers computes, the same bits in any company, and memory
// as it was foreseen.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_ops.h"
#include "base/error.h"
#include "golden/encoders.h"
#include "model/model_files.h"

namespace mlxd::cpu {
namespace {

using golden::encoded_texts;
using golden::EncodedText;
using golden::pool_together;

// Keys and values are 16-bit floats within attention, which random weights make the most of.
constexpr double kNear = 1e-5;

std::unique_ptr<ModelRunner> make(const std::string& name, const std::string& isa = "",
                                  int threads = 2) {
  return make_cpu_runner(open_model(golden::tiny_model(name)).plan,
                         {.threads = threads, .isa = isa});
}

class Encoder : public testing::TestWithParam<const char*> {};

TEST_P(Encoder, AgreesWithTransformers) {
  const auto texts = encoded_texts(std::string(GetParam()));
  for (const char* isa : {"portable", "avx2", "avx512_vnni", "neon", "neon_dotprod", "neon_i8mm"}) {
    if (find_kernels(isa) == nullptr) continue;
    const auto runner = make(GetParam(), isa);
    EXPECT_FALSE(runner->info().causal);
    const auto pooled = pool_together(*runner, texts);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::vector<float>& expected = texts[i].expected;
      ASSERT_EQ(pooled[i].size(), expected.size());
      if (expected.size() == 1) {
        EXPECT_NEAR(1 / (1 + std::exp(-pooled[i][0])), expected[0], 5e-4) << isa << " pair " << i;
      } else {
        EXPECT_GT(golden::cosine(pooled[i], expected), 1 - kNear) << isa << " text " << i;
      }
    }
  }
}

TEST_P(Encoder, GivesTheSameBitsAloneAndInCompany) {
  auto texts = encoded_texts(std::string(GetParam()));
  const std::size_t known = texts.size();
  for (std::size_t i = 0; texts.size() < 64; ++i) texts.push_back(texts[i % known]);
  std::ranges::shuffle(texts, std::mt19937(1));
  const auto one = make(GetParam(), "", 1), three = make(GetParam(), "", 3);
  const auto together = pool_together(*three, texts);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(pool_together(*one, std::span(texts).subspan(i, 1))[0], together[i]) << i;
  }
}

TEST_P(Encoder, HoldsNoMoreMemoryThanWasForeseen) {
  const ModelPlan plan = open_model(golden::tiny_model(GetParam())).plan;
  const CpuOptions options{.threads = 2};
  const auto texts = encoded_texts(std::string(GetParam()));
  int rows = 0;
  for (const EncodedText& text : texts) rows += static_cast<int>(text.tokens.size());
  const RunnerMemory memory = foresee_cpu_memory(
      plan, options, {.rows = rows, .wanted_rows = static_cast<int>(texts.size())});
  const auto runner = make_cpu_runner(plan, options);
  pool_together(*runner, texts);
  EXPECT_EQ(memory.weight_bytes, runner->info().weight_bytes);
  EXPECT_LE(runner->buffer_bytes(), memory.step_bytes);
  EXPECT_TRUE(memory.kv.empty());
}

INSTANTIATE_TEST_SUITE_P(Tiny, Encoder, testing::ValuesIn(golden::kTinyEncoders),
                         [](const auto& made) {
                           std::string name = made.param;
                           std::ranges::replace_if(
                               name, [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

TEST(EncoderOps, NormAndGeluAreThoseOfTheirDefinitions) {
  constexpr int kCount = 4096;
  std::vector<float> x(kCount), weight(kCount), bias(kCount);
  std::mt19937 random(7);
  std::normal_distribution<float> noise;
  for (int i = 0; i < kCount; ++i) {
    x[i] = 100 + 3 * noise(random);  // far from 0: the mean must go first
    weight[i] = noise(random);
    bias[i] = noise(random);
  }
  double mean = 0, variance = 0;
  for (const float value : x) mean += value / kCount;
  for (const float value : x) variance += (value - mean) * (value - mean) / kCount;
  for (const char* isa : {"portable", "avx2", "avx512_vnni", "neon", "neon_dotprod", "neon_i8mm"}) {
    if (find_kernels(isa) == nullptr) continue;
    const VectorOps& ops = find_vector_ops(isa);
    std::vector<float> normed(kCount);
    ops.layer_norm(x.data(), weight.data(), bias.data(), 1e-12f, kCount, normed.data());
    for (int i = 0; i < kCount; ++i) {
      EXPECT_NEAR(normed[i], (x[i] - mean) / std::sqrt(variance) * weight[i] + bias[i], 3e-5);
    }
    std::vector<float> gelu(kCount);
    for (int i = 0; i < kCount; ++i) gelu[i] = static_cast<float>(i - kCount / 2) / 200;
    const std::vector<float> before = gelu;
    ops.gelu(gelu.data(), kCount);
    for (int i = 0; i < kCount; ++i) {
      const double z = before[i];
      EXPECT_NEAR(gelu[i], z / 2 * (1 + std::erf(z / std::sqrt(2.0))), 1e-6) << isa << ' ' << z;
    }
  }
}

TEST(EncoderPlans, WithHeadsThatTheKernelsCannotRunAreRefused) {
  ModelPlan plan = open_model(golden::tiny_model("bert")).plan;
  plan.encoder->head_dim = 8;
  plan.encoder->heads = 4;
  EXPECT_THROW(make_cpu_runner(plan, {}), LoadError);
  EXPECT_THROW(foresee_cpu_memory(plan, {}, {.rows = 8, .wanted_rows = 1}), LoadError);
}

}  // namespace
}  // namespace mlxd::cpu
