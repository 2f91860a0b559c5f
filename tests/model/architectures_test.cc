// What each architecture's file makes of config.json and of GGUF metadata.
#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/overloaded.h"
#include "model/architecture_fixture.h"
#include "model/architectures/registry.h"

namespace mlxd {
namespace {

std::vector<bool> turning(const ModelConfig& config) {
  std::vector<bool> turning;
  for (const AttentionConfig& layer : config.attention) turning.push_back(layer.rope.has_value());
  return turning;
}

std::vector<int> windows(const ModelConfig& config) {
  std::vector<int> windows;
  for (const AttentionConfig& layer : config.attention) windows.push_back(layer.window);
  return windows;
}

TEST(Architectures, NoNameMeansTwo) {
  std::set<std::string_view> names, gguf_names, types;
  for (const Architecture& each : architectures()) {
    EXPECT_TRUE(names.insert(each.name).second) << each.name;
    EXPECT_TRUE(gguf_names.insert(each.gguf_name).second) << each.gguf_name;
    for (const std::string_view type : each.model_types) {
      EXPECT_TRUE(types.insert(type).second) << type;
    }
    EXPECT_NE(each.plan, nullptr) << each.name;
  }
}

TEST(SmolLM3, DoesNotTurnEveryFourthLayerUnlessTheFileSaysOtherwise) {
  EXPECT_EQ(turning(read("smollm3", "")), (std::vector<bool>{true, true, true, false}));
  EXPECT_EQ(turning(read("smollm3", R"(, "no_rope_layer_interval": 2)")),
            (std::vector<bool>{true, false, true, false}));
  EXPECT_EQ(turning(read("smollm3", R"(, "no_rope_layers": [0, 1, 1, 0])")),
            (std::vector<bool>{false, true, true, false}));
  EXPECT_THROW(read("smollm3", R"(, "no_rope_layers": [0, 1])"), LoadError);
  EXPECT_FLOAT_EQ(read("smollm3", "").rope.theta, 2000000);
}

TEST(Granite, ItsFourMultipliersAreNumbersOfThePlan) {
  for (const char* name : {"granite", "granite.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_FLOAT_EQ(plan.embed.scale, 12) << name;
    EXPECT_FLOAT_EQ(attention_of(plan, 1).scale, 0.1f) << name;
    EXPECT_FLOAT_EQ(attention_of(plan, 1).residual_scale, 0.22f) << name;
    EXPECT_FLOAT_EQ(std::get<FeedForwardBlock>(plan.blocks.at(3)).residual_scale, 0.22f) << name;
    EXPECT_FLOAT_EQ(plan.config.logit_scale, 1 / 1.5f) << name;
  }
  const ModelConfig plain = read("granite", "");  // transformers: each is 1 where it is not stated
  EXPECT_FLOAT_EQ(plain.embedding_scale, 1);
  EXPECT_FLOAT_EQ(plain.attention[0].scale, 1);
}

TEST(Olmo, HasNormsAfterItsBlocksAndOverAllHeads) {
  for (const char* name : {"olmo2", "olmo3", "olmo2.gguf", "olmo3.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    const AttentionBlock& attention = attention_of(plan, 0);
    EXPECT_FALSE(attention.input_norm) << name;
    EXPECT_TRUE(attention.post_norm) << name;
    EXPECT_EQ(attention.query_norm->weight.size(), 32u) << name;  // 2 heads of 16
    EXPECT_EQ(attention.key_norm->weight.size(), 16u) << name;
    const auto& feed_forward = std::get<FeedForwardBlock>(plan.blocks.at(1));
    EXPECT_TRUE(!feed_forward.input_norm && feed_forward.post_norm) << name;
  }
}

TEST(Olmo, TheThirdHasWindowsAndScalesTheRopeOfTheOtherLayersAlone) {
  const std::string yarn = R"(, "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
                              "original_max_position_embeddings": 32}, "rope_theta": 500000)";
  const ModelConfig third = read("olmo3", yarn + R"(, "sliding_window": 16)");
  EXPECT_EQ(windows(third), (std::vector<int>{16, 16, 16, 0}));
  EXPECT_EQ(third.attention[0].rope->scaling.kind, RopeScaling::Kind::none);
  EXPECT_FLOAT_EQ(third.attention[0].rope->theta, 500000);
  EXPECT_EQ(third.attention[3].rope->scaling.kind, RopeScaling::Kind::yarn);
  EXPECT_EQ(windows(read("olmo3", "")), (std::vector<int>{4096, 4096, 4096, 0}));
  EXPECT_EQ(windows(read("olmo2", "")), std::vector<int>(4, 0));
}

TEST(GptOss, HasSinksBiasesAndWindowsInEveryOtherLayer) {
  for (const char* name : {"gpt-oss", "gpt-oss.gguf", "gpt-oss-mxfp4", "gpt-oss-openai"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_EQ(attention_of(plan, 0).window, 8) << name;
    EXPECT_EQ(attention_of(plan, 1).window, 0) << name;
    EXPECT_EQ(attention_of(plan, 1).sinks.size(), 4u) << name;
    EXPECT_FALSE(attention_of(plan, 1).output.bias.empty()) << name;
    const auto& experts = std::get<ExpertsBlock>(plan.blocks.at(3));
    EXPECT_EQ(experts.activation, Activation::clamped_swiglu) << name;
    EXPECT_EQ(experts.choice.scoring, ExpertScoring::softmax_chosen) << name;
    EXPECT_EQ(experts.down.bias.size(), static_cast<std::size_t>(experts.down.out())) << name;
    EXPECT_FALSE(plan.config.attention[0].rope->scaling.whole_bounds) << name;
  }
  EXPECT_EQ(windows(read("gpt_oss", R"(, "sliding_window": 16)")),
            (std::vector<int>{16, 0, 16, 0}));
  EXPECT_THROW(read("gpt_oss", R"(, "swiglu_limit": 5)"), LoadError);
}

TEST(GraniteMoe, HasTheMultipliersToo) {
  for (const char* name : {"granitemoe", "granitemoe.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_FLOAT_EQ(plan.embed.scale, 12) << name;
    EXPECT_FLOAT_EQ(attention_of(plan, 1).scale, 0.1f) << name;
    EXPECT_FLOAT_EQ(std::get<ExpertsBlock>(plan.blocks.at(3)).residual_scale, 0.22f) << name;
  }
}

TEST(Ernie, TurnsNeighboursAndHasExpertsBehindItsDenseLayers) {
  for (const char* name : {"ernie4-5-moe", "ernie4-5-moe.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    EXPECT_TRUE(attention_of(plan, 0).rope->interleaved) << name;
    EXPECT_TRUE(std::holds_alternative<FeedForwardBlock>(plan.blocks.at(1))) << name;
    const auto& experts = std::get<ExpertsBlock>(plan.blocks.at(3));
    EXPECT_EQ(experts.choice.scoring, ExpertScoring::softmax) << name;
    EXPECT_TRUE(experts.choice.normalised) << name;
    EXPECT_EQ(experts.shared->up.out(), 64) << name;
  }
  EXPECT_EQ(read("ernie4_5_moe", R"(, "moe_gate_act": "sigmoid")").experts.scoring,
            ExpertScoring::sigmoid);
  EXPECT_THROW(read("ernie4_5_moe", R"(, "moe_gate_act": "relu")"), LoadError);
}

TEST(Exaone4, TurnsOnlyTheLayersThatSeeAWindowWhereSomeDo) {
  const ModelConfig windowed =
      read("exaone4", R"(, "sliding_window": 16, "sliding_window_pattern": "LLG")");
  EXPECT_EQ(windows(windowed), (std::vector<int>{16, 16, 0, 16}));
  EXPECT_EQ(turning(windowed), (std::vector<bool>{true, true, false, true}));
  const ModelConfig plain =
      read("exaone4", R"(, "sliding_window": null, "sliding_window_pattern": null)");
  EXPECT_EQ(windows(plain), std::vector<int>(4, 0));
  EXPECT_EQ(turning(plain), std::vector<bool>(4, true));
  EXPECT_THROW(read("exaone4", R"(, "sliding_window": 16, "sliding_window_pattern": "LXG")"),
               LoadError);
}

TEST(Phi3, ReadsItsFusedMatricesAsViewsOfTheirRows) {
  const ModelPlan plan = open_tiny("phi3");
  const AttentionBlock& attention = attention_of(plan, 0);
  const std::span<const std::byte> query = attention.query.weight.data;
  const std::span<const std::byte> key = attention.key.weight.data;
  EXPECT_EQ(attention.query.weight.rows, 32);
  EXPECT_EQ(attention.key.weight.rows, 16);
  EXPECT_EQ(query.data() + query.size(), key.data());
  EXPECT_EQ(key.data() + key.size(), attention.value.weight.data.data());
  const auto& feed_forward = std::get<FeedForwardBlock>(plan.blocks.at(1));
  const std::span<const std::byte> gate = feed_forward.gate->weight.data;
  EXPECT_EQ(gate.data() + gate.size(), feed_forward.up.weight.data.data());
  EXPECT_THAT(feed_forward.up.weight.name, testing::EndsWith("gate_up_proj.weight[64:128]"));
}

TEST(Phi3, TurnsAPartOfEachHeadByTheFactorsForTheServedLength) {
  const auto longrope = [](int original) {
    return read("phi3", R"(, "partial_rotary_factor": 0.75, "rope_scaling": {"type": "longrope",
        "short_factor": [1, 1, 1, 1, 1, 1], "long_factor": [1, 2, 3, 4, 5, 6]},
        "original_max_position_embeddings": )" +
                            std::to_string(original));
  };
  const RopeConfig longer = *longrope(64).attention[0].rope;
  EXPECT_EQ(longer.dimensions, 12);
  EXPECT_THAT(longer.divisors, testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_FLOAT_EQ(longer.scaling.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(64.0)));
  const RopeConfig shorter = *longrope(256).attention[0].rope;
  EXPECT_THAT(shorter.divisors, testing::Each(1));
  EXPECT_FLOAT_EQ(shorter.scaling.attention_factor, 1);
  EXPECT_THROW(read("phi3", R"(, "rope_scaling": {"type": "longrope"})"), LoadError);
  EXPECT_THROW(read("phi3", R"(, "rope_scaling": {"type": "su", "long_factor": [1, 2],
                            "short_factor": [1, 2]}, "original_max_position_embeddings": 64)"),
               LoadError);
}

TEST(Phi3, WindowsEveryLayerWhereTheWindowIsShorterThanTheContext) {
  EXPECT_EQ(windows(read("phi3", R"(, "sliding_window": 64)")), std::vector<int>(4, 64));
  EXPECT_EQ(windows(read("phi3", R"(, "sliding_window": 2047)")), std::vector<int>(4, 0));
  EXPECT_EQ(windows(read("phi3", R"(, "sliding_window": null)")), std::vector<int>(4, 0));
}

TEST(Mistral3, QueriesGrowWithTheLogarithmOfTheirPosition) {
  for (const char* name : {"ministral3", "ministral3.gguf"}) {
    const AttentionBlock attention = attention_of(open_tiny(name), 1);
    ASSERT_TRUE(attention.temperature) << name;
    EXPECT_FLOAT_EQ(attention.temperature->at(31), 1) << name;
    EXPECT_FLOAT_EQ(attention.temperature->at(32), 1 + 0.5f * std::log(2.0f)) << name;
    EXPECT_FLOAT_EQ(attention.temperature->at(95), 1 + 0.5f * std::log(3.0f)) << name;
    EXPECT_FLOAT_EQ(attention.rope->magnitude, 1) << name;  // mscale and mscale_all_dim cancel
  }
}

TEST(Mistral3, RunsAnOlderTextModelWithoutThat) {
  const ModelConfig config = read_json_config(
      JsonFields::parse(R"({"model_type": "mistral3", "text_config": {"model_type": "mistral",
          "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 8,
          "intermediate_size": 96, "head_dim": 32, "rope_theta": 1e9}})",
                        "config.json"),
      NoWeights());
  EXPECT_FALSE(config.attention[0].temperature);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_FLOAT_EQ(config.attention[0].rope->theta, 1e9f);
  EXPECT_THROW(read_json_config(JsonFields::parse(R"({"model_type": "mistral3", "text_config": {
          "model_type": "mistral4", "num_hidden_layers": 1, "hidden_size": 64,
          "num_attention_heads": 4, "vocab_size": 8, "intermediate_size": 96}})",
                                                  "config.json"),
                                NoWeights()),
               LoadError);
}

TEST(Gemma4, LayersThatSeeAllHaveLargerHeadsWhoseFirstPairsTurn) {
  const ModelPlan plan = open_tiny("gemma4");
  const AttentionBlock windowed = attention_of(plan, 0), whole = attention_of(plan, 1);
  EXPECT_EQ(windowed.head_dim, 16);
  EXPECT_EQ(windowed.window, 8);
  EXPECT_EQ(windowed.kv_heads, 2);
  EXPECT_EQ(whole.head_dim, 32);
  EXPECT_EQ(whole.window, 0);
  EXPECT_EQ(whole.kv_heads, 1);
  ASSERT_EQ(whole.rope->inverse_frequencies.size(), 16u);
  EXPECT_FLOAT_EQ(whole.rope->inverse_frequencies[1], std::pow(1e6f, -2.0f / 32));
  EXPECT_GT(whole.rope->inverse_frequencies[3], 0);
  EXPECT_EQ(whole.rope->inverse_frequencies[4], 0);
  EXPECT_FLOAT_EQ(whole.scale, 1);
}

TEST(Gemma4, ValuesAreKeysBeforeTheirNormWhereAFileHasNone) {
  const ModelPlan plan = open_tiny("gemma4");
  const AttentionBlock whole = attention_of(plan, 1);
  EXPECT_EQ(whole.value.weight.data.data(), whole.key.weight.data.data());
  const AttentionBlock windowed = attention_of(plan, 0);
  EXPECT_NE(windowed.value.weight.data.data(), windowed.key.weight.data.data());
}

TEST(Gemma4, TheLastLayersReadTheCacheOfTheLastOwnLayerOfTheirKind) {
  const ModelPlan plan = open_tiny("gemma4-shared");  // three blocks a layer
  EXPECT_EQ(plan.kv_layers, 3);
  const auto& windowed = std::get<AttentionBlock>(plan.blocks.at(9));
  const auto& whole = std::get<AttentionBlock>(plan.blocks.at(12));
  EXPECT_TRUE(windowed.shares_cache);
  EXPECT_EQ(windowed.layer, 1);
  EXPECT_TRUE(whole.shares_cache);
  EXPECT_EQ(whole.layer, 2);
  EXPECT_THROW(read("gemma4_text", R"(, "num_kv_shared_layers": 4)"), LoadError);  // of four
}

TEST(Gemma4, TheTableOfLayersInputsIsNoMatrixThatIsPackedOrCopied) {
  for (const char* name : {"gemma4-shared", "gemma4-shared.gguf"}) {
    const ModelPlan plan = open_tiny(name);
    ASSERT_TRUE(plan.layer_inputs) << name;
    EXPECT_EQ(plan.layer_inputs->table.columns, 5 * 32) << name;
    for (const Tensor* matrix : matrices_of(plan)) {
      EXPECT_NE(matrix->data.data(), plan.layer_inputs->table.data.data()) << matrix->name;
    }
  }
}

TEST(Gemma4, MayLookBothWaysWithinImagesAlone) {
  const std::string rest = R"(, "layer_types": ["sliding_attention", "full_attention",
                              "sliding_attention", "full_attention"])";
  EXPECT_NO_THROW(read("gemma4_text", rest + R"(, "use_bidirectional_attention": "vision")"));
  for (const char* other : {"\"all\"", "true"}) {
    EXPECT_THROW(read("gemma4_text", rest + R"(, "use_bidirectional_attention": )" + other),
                 LoadError);
  }
}

void expect_same(const std::optional<RmsNorm>& a, const std::optional<RmsNorm>& b) {
  ASSERT_EQ(a.has_value(), b.has_value());
  if (!a) return;
  EXPECT_EQ(a->weight.size(), b->weight.size());
  EXPECT_FLOAT_EQ(a->epsilon, b->epsilon);
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
          if (!a.rope) return;
          EXPECT_FLOAT_EQ(a.rope->magnitude, b.rope->magnitude);
          EXPECT_THAT(a.rope->inverse_frequencies,
                      testing::Pointwise(testing::FloatEq(), b.rope->inverse_frequencies));
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
                                         "qwen3-next"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mlxd
