// What the files of architectures whose layers keep a state make of config.json and of GGUF
// metadata.
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/architecture_fixture.h"
#include "model/architectures/registry.h"

namespace mlxd {
namespace {

TEST(Lfm2, HasShortConvolutionsWhereItDoesNotAttend) {
  for (const char* name : {"lfm2", "lfm2.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_EQ(plan.kv_layers, 1) << name;
    EXPECT_EQ(plan.state_layers, 3) << name;
    const auto& block = std::get<ShortConvBlock>(plan.blocks.at(0));
    EXPECT_EQ(block.kernel, 3) << name;
    EXPECT_THAT(block.outer_gate.weight.name, testing::EndsWith("conv.in_proj.weight[64:128]"));
    EXPECT_EQ(std::get<FeedForwardBlock>(plan.blocks.at(1)).up.out(), 96) << name;
  }
}

TEST(Lfm2, AdjustsTheSizeOfItsHiddenLayersAsItsConfigSays) {
  const std::string types = R"(, "layer_types": ["conv", "conv", "full_attention", "conv"])";
  const auto size = [&](const std::string& more) {
    return read("lfm2", types + more).intermediate_size;
  };
  EXPECT_EQ(size(R"(, "block_ff_dim": 12288)"), 8192);
  EXPECT_EQ(size(R"(, "block_ff_dim": 1000, "block_multiple_of": 10)"), 670);
  EXPECT_EQ(size(R"(, "block_ff_dim": 100, "block_auto_adjust_ff_dim": false)"), 100);
  EXPECT_EQ(size(R"(, "block_auto_adjust_ff_dim": false)"), 96);
  EXPECT_THROW(size(R"(, "block_ff_dim": 2097152, "block_ffn_dim_multiplier": 1000)"), LoadError);
}

TEST(Lfm2, NamesItsAttentionByTypesOrByNumbers) {
  const auto states = [](const ModelConfig& config) {
    std::vector<bool> recurrent;
    for (const AttentionConfig& layer : config.attention) recurrent.push_back(layer.recurrent);
    return recurrent;
  };
  const std::vector<bool> expected = {true, false, true, false};
  EXPECT_EQ(states(read("lfm2", R"(, "full_attn_idxs": [1, 3])")), expected);
  EXPECT_EQ(states(read("lfm2", R"(, "layer_types": ["conv", "full_attention", "conv",
                                    "full_attention"])")),
            expected);
  EXPECT_THROW(read("lfm2", ""), LoadError);
  EXPECT_THROW(read("lfm2", R"(, "full_attn_idxs": [4])"), LoadError);
  EXPECT_THROW(read("lfm2", R"(, "layer_types": ["mamba", "conv", "conv", "conv"])"), LoadError);
  EXPECT_THROW(read("lfm2", R"(, "full_attn_idxs": [1], "conv_L_cache": 1)"), LoadError);
}

TEST(Granite4, HasMamba2WhereItDoesNotAttendAndTurnsNothing) {
  for (const char* name : {"granite-hybrid", "granite-hybrid.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_EQ(plan.kv_layers, 1) << name;
    EXPECT_EQ(plan.state_layers, 3) << name;
    const auto& mamba = std::get<Mamba2Block>(plan.blocks.at(0));
    EXPECT_EQ(mamba.norm_groups, 1) << name;
    EXPECT_FLOAT_EQ(mamba.residual_scale, 0.22f) << name;
    EXPECT_THAT(mamba.time.weight.name, testing::EndsWith("mamba.in_proj.weight[320:328]"));
    EXPECT_FALSE(attention_of(plan, 1).rope.has_value()) << name;
    const auto& experts = std::get<ExpertsBlock>(plan.blocks.at(1));
    EXPECT_EQ(experts.choice.scoring, ExpertScoring::softmax_chosen) << name;
    EXPECT_EQ(experts.shared->up.out(), 64) << name;
  }
}

// Of four layers.
const std::string kMamba2 = R"(, "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_n_groups": 2,
    "mamba_d_state": 16, "mamba_d_conv": 4, "layer_types": ["mamba", "mamba", "attention", "mamba"])";

TEST(Granite4, ReadsTheLimitsOfItsTimeSteps) {
  const Mamba2Config plain = read("granitemoehybrid", kMamba2).mamba2;
  EXPECT_EQ(plain.least_time, 0);
  EXPECT_TRUE(std::isinf(plain.most_time));
  const auto limited = [](const std::string& limits) {
    return read("granitemoehybrid", kMamba2 + R"(, "time_step_limit": )" + limits).mamba2;
  };
  EXPECT_FLOAT_EQ(limited("[0.001, 100]").least_time, 0.001f);
  EXPECT_FLOAT_EQ(limited("[0.001, 100]").most_time, 100);
  EXPECT_TRUE(std::isinf(limited("[0.5, Infinity]").most_time)) << "as Python writes it";
  for (const char* wrong : {"[1]", "[2, 1]", "[-1, 1]", "[\"0\", 1]", "[-Infinity, 1]"}) {
    EXPECT_THROW(limited(wrong), LoadError) << wrong;
  }
}

TEST(Granite4, RefusesHeadsThatCannotShareTheirGroups) {
  std::string three = kMamba2;
  three.replace(three.find("\"mamba_n_groups\": 2"), 19, "\"mamba_n_groups\": 3");
  EXPECT_THROW(read("granitemoehybrid", three), LoadError);
}

TEST(NemotronH, HasOneBlockALayerAsItsPatternSays) {
  for (const char* name : {"nemotron-h-moe", "nemotron-h-moe.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    ASSERT_EQ(plan.blocks.size(), 6u) << name;
    EXPECT_EQ(std::get<Mamba2Block>(plan.blocks.at(2)).norm_groups, 2) << name;
    EXPECT_FALSE(std::get<AttentionBlock>(plan.blocks.at(3)).rope.has_value()) << name;
    const auto& experts = std::get<ExpertsBlock>(plan.blocks.at(1));
    EXPECT_FALSE(experts.gate.has_value()) << name;
    EXPECT_EQ(experts.activation, Activation::squared_relu) << name;
    EXPECT_EQ(experts.choice.scoring, ExpertScoring::sigmoid) << name;
    EXPECT_EQ(experts.choice.bias.size(), 8u) << name;
    EXPECT_FLOAT_EQ(experts.choice.scale, 2.5f) << name;
    EXPECT_EQ(experts.shared->up.out(), 64) << name;
  }
  const std::string numbers = R"(, "mamba_num_heads": 4, "mamba_head_dim": 32, "n_groups": 2,
      "ssm_state_size": 16, "conv_kernel": 4)";
  const auto recurrent = [&](const std::string& more) {
    std::vector<bool> states;
    for (const AttentionConfig& layer : read("nemotron_h", numbers + more).attention) {
      states.push_back(layer.recurrent);
    }
    return states;
  };
  const std::vector<bool> expected = {true, false, false, true};
  EXPECT_EQ(recurrent(R"(, "hybrid_override_pattern": "M*-M")"), expected);
  EXPECT_EQ(recurrent(R"(, "layers_block_type": ["mamba", "attention", "mlp", "mamba"])"),
            expected);
  EXPECT_THROW(recurrent(""), LoadError);
  EXPECT_THROW(recurrent(R"(, "hybrid_override_pattern": "M*-")"), LoadError);
  EXPECT_THROW(recurrent(R"(, "hybrid_override_pattern": "M*-X")"), LoadError);
  EXPECT_THROW(recurrent(R"(, "hybrid_override_pattern": "M*EM", "moe_latent_size": 64)"),
               LoadError);
}

TEST(Qwen3Next, GathersTheRowsOfItsFusedProductsByKeyHead) {
  const ModelPlan plan = open_tiny("qwen3-next");  // 2 key heads of 32, 4 value heads of 32
  const auto& net = std::get<DeltaNetBlock>(plan.blocks.at(0));
  ASSERT_EQ(net.qkv.out(), 256);
  ASSERT_EQ(net.gate.out(), 128);
  EXPECT_EQ(net.qkv.weight.data.data(), net.gate.weight.data.data());
  // A key head's rows are 32 of q, 32 of k, 64 of v and 64 of z.
  EXPECT_EQ(net.qkv.order[0], 0);
  EXPECT_EQ(net.qkv.order[32], 192) << "q of the second head";
  EXPECT_EQ(net.qkv.order[64], 32) << "k of the first";
  EXPECT_EQ(net.qkv.order[128 + 64], 192 + 64) << "v of the second";
  EXPECT_EQ(net.gate.order[64], 192 + 128) << "z of the second";
  EXPECT_EQ(net.beta.order, (std::vector<int>{0, 1, 4, 5}));
  EXPECT_EQ(net.alpha.order, (std::vector<int>{2, 3, 6, 7}));
}

TEST(NemotronH, IsRefusedWithExpertsThatItsConfigDoesNotCount) {
  const ModelPlan plan = open_tiny("nemotron-h-moe");
  ModelConfig config = plan.config;
  config.experts.count = 0;
  EXPECT_THROW(make_plan(config, plan.weights), LoadError);
}

TEST(NemotronH, IsRefusedWithoutAttention) {
  const ModelPlan plan = open_tiny("nemotron-h");
  ModelConfig config = plan.config;
  config.layers = 2;  // Mamba-2 and a feed-forward layer
  try {
    make_plan(config, plan.weights);
    FAIL() << "a plan without attention";
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("no layer has attention"));
  }
}

}  // namespace
}  // namespace mlxd
