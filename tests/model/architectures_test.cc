// What each architecture's file makes of config.json and of GGUF metadata.
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

TEST(Gemma2, EverySecondLayerSeesAllAndScoresAreCapped) {
  const ModelConfig usual = read("gemma2", R"(, "hidden_activation": "gelu_pytorch_tanh")");
  ASSERT_EQ(usual.attention.size(), 4U);
  for (int layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(usual.attention[layer].window, layer % 2 == 0 ? 4096 : 0) << layer;
    EXPECT_FLOAT_EQ(usual.attention[layer].softcap, 50);
    EXPECT_FLOAT_EQ(usual.attention[layer].scale, 1.0f / 16) << "of 256, whatever a head's size";
  }
  EXPECT_FLOAT_EQ(usual.logit_softcap, 30);
  const ModelConfig own =
      read("gemma2", R"(, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 144,
                        "attn_logit_softcapping": null, "final_logit_softcapping": 20,
                        "sliding_window": 8)");
  EXPECT_FLOAT_EQ(own.attention[0].scale, 1.0f / 12);
  EXPECT_EQ(own.attention[0].window, 8);
  EXPECT_FLOAT_EQ(own.logit_softcap, 20);
  EXPECT_THROW(read("gemma2", R"(, "hidden_activation": "silu")"), LoadError);
}

TEST(Glm4, HalfOfEachHeadTurnsAsNeighbours) {
  const ModelConfig config = read("glm4", R"(, "partial_rotary_factor": 0.5)");
  ASSERT_TRUE(config.attention[0].rope);
  EXPECT_TRUE(config.rope.interleaved);
  EXPECT_EQ(config.attention[0].rope->dimensions, config.head_dim / 2);
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

constexpr const char* kLatent = R"(, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16, "v_head_dim": 48, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "n_group": 4, "topk_group": 2)";

TEST(DeepSeek, KeepsOneKeyOfATokenForAllHeads) {
  const ModelConfig config = read("deepseek_v3", kLatent);
  EXPECT_EQ(config.attention[3].kv_heads, 1);
  EXPECT_EQ(config.attention[3].head_dim, 64 + 16);
  EXPECT_EQ(config.attention[3].rope->dimensions, 16);
  EXPECT_FLOAT_EQ(config.attention[3].scale, 1 / std::sqrt(48.0f));
  EXPECT_EQ(config.latent.query_rank, 0);
  EXPECT_THROW(read("deepseek_v3", ""), LoadError);
  std::string odd = kLatent;
  odd.replace(odd.find("\"qk_rope_head_dim\": 16"), 22, "\"qk_rope_head_dim\": 15");
  EXPECT_THAT([&] { read("deepseek_v3", odd); },
              testing::ThrowsMessage<LoadError>(testing::HasSubstr("\"qk_rope_head_dim\" is 15")));
}

TEST(DeepSeek, TheSquareOfYarnsMagnitudeMultipliesScores) {
  const std::string yarn = R"(, "rope_scaling": {"type": "yarn", "factor": 40,
      "original_max_position_embeddings": 32, "mscale": 1.0, "mscale_all_dim": 0.5})";
  const ModelConfig config = read("deepseek_v3", kLatent + yarn);
  const double all = 0.05 * std::log(40) + 1, own = 0.1 * std::log(40) + 1;
  EXPECT_FLOAT_EQ(config.attention[0].scale, all * all / std::sqrt(48));
  EXPECT_FLOAT_EQ(config.attention[0].rope->scaling.attention_factor, own / all);
}

TEST(DeepSeek, TheGenerationsChooseExpertsInWaysOfTheirOwn) {
  const ExpertsConfig third = read("deepseek_v3", kLatent).experts;
  EXPECT_EQ(third.scoring, ExpertScoring::sigmoid);
  EXPECT_TRUE(third.normalised);
  EXPECT_EQ(third.groups, 4);
  EXPECT_FALSE(third.groups_by_best);
  const ExpertsConfig greedy = read("deepseek_v2", kLatent).experts;
  EXPECT_EQ(greedy.scoring, ExpertScoring::softmax);
  EXPECT_FALSE(greedy.normalised);
  EXPECT_EQ(greedy.groups, 1);
  const std::string limited = R"(, "topk_method": "group_limited_greedy")";
  EXPECT_EQ(read("deepseek_v2", kLatent + limited).experts.groups, 4);
  EXPECT_TRUE(read("deepseek_v2", kLatent + limited).experts.groups_by_best);
  EXPECT_THROW(read("deepseek_v2", kLatent + std::string(R"(, "norm_topk_prob": true)")),
               LoadError);
  EXPECT_THROW(read("deepseek_v3", kLatent + std::string(R"(, "topk_method": "best")")), LoadError);
}

TEST(DeepSeek, TurnsNeighboursAlone) {
  const std::string sizes = R"(, "kv_lora_rank": 32, "q_lora_rank": 32, "qk_nope_head_dim": 16,
      "qk_rope_head_dim": 8, "v_head_dim": 16)";
  EXPECT_TRUE(read("glm4_moe_lite", sizes).rope.interleaved);
  EXPECT_THROW(read("glm4_moe_lite", sizes + R"(, "rope_interleave": false)"), LoadError);
}

TEST(Mistral4, IsToldByItsTextModelAndGrowsItsQueries) {
  const ModelPlan plan = open_tiny("mistral4");
  EXPECT_EQ(plan.config.architecture, "mistral4");
  EXPECT_EQ(std::get<LatentAttentionBlock>(plan.blocks.at(2)).temperature,
            (PositionTemperature{.beta = 0.5f, .length = 64}));
  EXPECT_EQ(open_tiny("ministral3").config.architecture, "mistral3");
}

// Of the norms within attention config.json of DeepSeek says nothing.
TEST(DeepSeek, HasNormsWithAnEpsilonOfTheirOwnAndGlmTheUsualOne) {
  EXPECT_FLOAT_EQ(read("deepseek_v3", kLatent).latent.norm_epsilon, 1e-6f);
  EXPECT_FLOAT_EQ(read("glm4_moe_lite", kLatent).latent.norm_epsilon, 1e-5f);
}

TEST(DeepSeek, AHeadsMatricesInOneAreTakenApart) {
  const ModelPlan plan = open_tiny("deepseek-v2");
  const auto& block = std::get<LatentAttentionBlock>(plan.blocks.at(0));
  const auto joined = plan.weights->find("model.layers.0.self_attn.kv_b_proj.weight");
  const std::vector<float> whole = dequantize(*joined), keys = dequantize(block.key_up.weight);
  ASSERT_EQ(block.key_up.out(), 3 * 32);
  // Of head 1 the number that takes place 5 of the query to place 7 of the latent.
  EXPECT_EQ(keys[(32 + 7) * 32 + 5], whole[(64 + 5) * 32 + 7]);
  EXPECT_EQ(block.value_up.rows.first, 32);
  EXPECT_EQ(block.value_up.out(), 3 * 32);
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

}  // namespace
}  // namespace mlxd
