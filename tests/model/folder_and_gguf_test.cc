// That the two kinds of file of one tiny model make the same plan.
#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/overloaded.h"
#include "model/model_files.h"

namespace mlxd {
namespace {

ModelPlan open_tiny(const std::string& name) {
  return open_model(MLXD_TEST_DATA + std::string("/golden/tiny/") + name).plan;
}

void expect_same(const std::optional<RmsNorm>& a, const std::optional<RmsNorm>& b) {
  ASSERT_EQ(a.has_value(), b.has_value());
  if (!a) return;
  EXPECT_EQ(a->weight.size(), b->weight.size());
  EXPECT_FLOAT_EQ(a->epsilon, b->epsilon);
}

void expect_same(const Rope& a, const Rope& b) {
  EXPECT_FLOAT_EQ(a.magnitude, b.magnitude);
  EXPECT_THAT(a.inverse_frequencies, testing::Pointwise(testing::FloatEq(), b.inverse_frequencies));
}

class FolderAndGguf : public testing::TestWithParam<const char*> {};

TEST_P(FolderAndGguf, MakeTheSamePlan) {
  const std::string name = GetParam();
  const ModelPlan folder = open_tiny(name), gguf = open_tiny(name + ".gguf");
  EXPECT_EQ(folder.config.architecture, gguf.config.architecture);
  EXPECT_EQ(folder.config.context_length, gguf.config.context_length);
  EXPECT_FLOAT_EQ(folder.embed.scale, gguf.embed.scale);
  ASSERT_EQ(folder.blocks.size(), gguf.blocks.size());
  for (std::size_t i = 0; i < folder.blocks.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "block " << i);
    ASSERT_EQ(folder.blocks[i].index(), gguf.blocks[i].index());
    const Overloaded compare = {
        [&](const AttentionBlock& a) {
          const auto& b = std::get<AttentionBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          expect_same(a.query_norm, b.query_norm);
          expect_same(a.post_norm, b.post_norm);
          EXPECT_EQ(a.window, b.window);
          EXPECT_EQ(a.gated, b.gated);
          EXPECT_EQ(a.head_dim, b.head_dim);
          EXPECT_EQ(a.kv_heads, b.kv_heads);
          EXPECT_EQ(a.shares_cache, b.shares_cache);
          expect_same(a.value_norm, b.value_norm);
          EXPECT_EQ(a.layer, b.layer);
          EXPECT_EQ(a.temperature, b.temperature);
          EXPECT_EQ(a.sinks.size(), b.sinks.size());
          EXPECT_EQ(a.output.bias.size(), b.output.bias.size());
          EXPECT_FLOAT_EQ(a.scale, b.scale);
          EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
          ASSERT_EQ(a.rope.has_value(), b.rope.has_value());
          if (a.rope) expect_same(*a.rope, *b.rope);
        },
        [&](const LatentAttentionBlock& a) {
          const auto& b = std::get<LatentAttentionBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          expect_same(a.query_norm, b.query_norm);
          expect_same(a.latent_norm, b.latent_norm);
          EXPECT_EQ(a.layer, b.layer);
          EXPECT_EQ(a.heads, b.heads);
          EXPECT_EQ(a.rank, b.rank);
          EXPECT_EQ(a.plain_dim, b.plain_dim);
          EXPECT_EQ(a.rotary_dim, b.rotary_dim);
          EXPECT_EQ(a.value_dim, b.value_dim);
          EXPECT_FLOAT_EQ(a.scale, b.scale);
          EXPECT_TRUE(a.rope.interleaved && b.rope.interleaved);
          EXPECT_EQ(a.temperature, b.temperature);
          expect_same(a.rope, b.rope);
          EXPECT_EQ(a.key_up.out(), b.key_up.out());
          EXPECT_EQ(a.value_up.out(), b.value_up.out());
        },
        [&](const FeedForwardBlock& a) {
          const auto& b = std::get<FeedForwardBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          expect_same(a.post_norm, b.post_norm);
          EXPECT_EQ(a.activation, b.activation);
          EXPECT_EQ(a.up.out(), b.up.out());
          EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
          EXPECT_NEAR(a.stream_scale, b.stream_scale, 1e-3);  // the folder's are halves
        },
        [&](const ShortConvBlock& a) {
          const auto& b = std::get<ShortConvBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          EXPECT_EQ(a.layer, b.layer);
          EXPECT_EQ(a.channels(), b.channels());
          EXPECT_EQ(a.kernel, b.kernel);
          EXPECT_EQ(a.convolution_bias, b.convolution_bias);
          EXPECT_THAT(a.convolution, testing::Pointwise(testing::FloatNear(2e-3f), b.convolution));
          EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
        },
        [&](const Mamba2Block& a) {
          const auto& b = std::get<Mamba2Block>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          EXPECT_EQ(a.layer, b.layer);
          EXPECT_EQ(a.heads, b.heads);
          EXPECT_EQ(a.head_dim, b.head_dim);
          EXPECT_EQ(a.groups, b.groups);
          EXPECT_EQ(a.state_size, b.state_size);
          EXPECT_EQ(a.kernel, b.kernel);
          EXPECT_EQ(a.norm_groups, b.norm_groups);
          EXPECT_EQ(a.norm.weight.size(), b.norm.weight.size());
          EXPECT_FLOAT_EQ(a.norm.epsilon, b.norm.epsilon);
          EXPECT_EQ(a.least_time, b.least_time);
          const auto near = testing::FloatNear(2e-3f);  // the folder's are halves
          EXPECT_THAT(a.decay, testing::Pointwise(near, b.decay));
          EXPECT_THAT(a.time_bias, testing::Pointwise(near, b.time_bias));
          EXPECT_THAT(a.skip, testing::Pointwise(near, b.skip));
          EXPECT_THAT(a.convolution, testing::Pointwise(near, b.convolution));
          EXPECT_EQ(a.convolution_bias.size(), b.convolution_bias.size());
          EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
        },
        [&](const LayerInputBlock& a) {
          const auto& b = std::get<LayerInputBlock>(gguf.blocks[i]);
          EXPECT_EQ(a.index, b.index);
          EXPECT_EQ(a.gate.out(), b.gate.out());
          expect_same(a.post_norm, b.post_norm);
          EXPECT_NEAR(a.stream_scale, b.stream_scale, 1e-3);
        },
        [&](const ExpertsBlock& a) {
          const auto& b = std::get<ExpertsBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          EXPECT_EQ(a.experts, b.experts);
          EXPECT_EQ(a.intermediate_size(), b.intermediate_size());
          EXPECT_EQ(a.choice.scoring, b.choice.scoring);
          EXPECT_EQ(a.choice.chosen, b.choice.chosen);
          EXPECT_EQ(a.choice.groups, b.choice.groups);
          EXPECT_EQ(a.choice.chosen_groups, b.choice.chosen_groups);
          EXPECT_EQ(a.choice.groups_by_best, b.choice.groups_by_best);
          EXPECT_EQ(a.choice.normalised, b.choice.normalised);
          EXPECT_FLOAT_EQ(a.choice.scale, b.choice.scale);
          EXPECT_EQ(a.choice.bias.size(), b.choice.bias.size());
          EXPECT_EQ(a.choice.expert_scales.size(), b.choice.expert_scales.size());
          expect_same(a.router_norm, b.router_norm);
          expect_same(a.experts_norm, b.experts_norm);
          EXPECT_EQ(a.activation, b.activation);
          EXPECT_EQ(a.router.bias.size(), b.router.bias.size());
          ASSERT_EQ(a.gate.has_value(), b.gate.has_value());
          EXPECT_EQ(a.up.bias.size(), b.up.bias.size());
          EXPECT_EQ(a.down.bias.size(), b.down.bias.size());
          EXPECT_FLOAT_EQ(a.residual_scale, b.residual_scale);
          ASSERT_EQ(a.shared.has_value(), b.shared.has_value());
          if (!a.shared) return;
          EXPECT_EQ(a.shared->weight.has_value(), b.shared->weight.has_value());
        },
        [&](const DeltaNetBlock& a) {
          const auto& b = std::get<DeltaNetBlock>(gguf.blocks[i]);
          expect_same(a.input_norm, b.input_norm);
          EXPECT_EQ(a.layer, b.layer);
          EXPECT_EQ(a.key_heads, b.key_heads);
          EXPECT_EQ(a.value_heads, b.value_heads);
          EXPECT_EQ(a.key_dim, b.key_dim);
          EXPECT_EQ(a.value_dim, b.value_dim);
          EXPECT_EQ(a.kernel, b.kernel);
          EXPECT_EQ(a.qkv.out(), b.qkv.out());
          EXPECT_EQ(a.gate.out(), b.gate.out());
          EXPECT_EQ(a.beta.out(), b.beta.out());
          EXPECT_FALSE(a.tiled);
          EXPECT_EQ(b.tiled, gguf.config.architecture != "qwen3_next");
          // Value head 1 of the folder is the first of the second turn in a file with turns.
          const int head = b.tiled ? a.key_heads : 1;
          EXPECT_NEAR(a.decay[1], b.decay[head], 2e-3);
          EXPECT_NEAR(a.time_bias[1], b.time_bias[head], 1e-6);
        },
    };
    std::visit(compare, folder.blocks[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, FolderAndGguf,
                         testing::Values("dots1", "gemma4", "gemma4-moe", "gemma4-shared",
                                         "glm4-moe", "granite", "minimax-m2", "ministral3",
                                         "mixtral", "olmo2", "olmo3", "olmoe", "phi3",
                                         "phi3-longrope", "qwen3-5", "qwen3-5-moe", "qwen3-moe",
                                         "seed-oss", "smollm3", "gpt-oss", "granitemoe", "ernie4-5",
                                         "ernie4-5-moe", "exaone4", "lfm2", "lfm2-moe",
                                         "granite-hybrid", "granite-hybrid-dense", "nemotron-h",
                                         "qwen3-next", "glm4-moe-lite", "deepseek-v3", "mistral4",
                                         "gemma2", "glm4", "qwen2-moe"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mlxd
