#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/config_reader.h"

namespace mlxd {
namespace {

// Weights of which a config reader asks only whether they are there.
class NamedWeights : public WeightSource {
 public:
  explicit NamedWeights(std::vector<std::string> names) : names_(std::move(names)) {}
  std::optional<Tensor> find(std::string_view name) const override {
    for (const std::string& each : names_) {
      if (each == name) return Tensor{each, {}, 1, 0, {}, {}, {}};
    }
    return std::nullopt;
  }
  std::vector<Tensor> all() const override { return {}; }
  std::string description() const override { return "weights"; }

 private:
  std::vector<std::string> names_;
};

ModelConfig read(const std::string& json, std::vector<std::string> names = {}) {
  return read_json_config(JsonFields::parse(json, "config.json"), NamedWeights(std::move(names)));
}

std::string complaint(const std::string& json) {
  try {
    read(json);
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

// The fields that every file has, for `layers` layers, followed by `more`.
std::string config_of(const std::string& type, const std::string& more, int layers = 4) {
  return R"({"model_type": ")" + type + R"(", "num_hidden_layers": )" + std::to_string(layers) +
         R"(, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 96, "vocab_size": 8, "max_position_embeddings": 128)" +
         more + "}";
}

// What each layer sees.
std::vector<int> windows(const ModelConfig& config) {
  std::vector<int> windows;
  for (const AttentionConfig& layer : config.attention) windows.push_back(layer.window);
  return windows;
}

TEST(JsonConfig, ReadsLlama32) {
  const ModelConfig config = read(config_of("llama", R"(, "rope_theta": 500000.0, "head_dim": 32,
      "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                       "original_max_position_embeddings": 8192, "rope_type": "llama3"})"));
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.head_dim, 32);
  ASSERT_EQ(config.attention.size(), 4u);
  const AttentionConfig& attention = config.attention[3];
  EXPECT_FLOAT_EQ(attention.rope->theta, 500000);
  EXPECT_EQ(attention.rope->dimensions, 32);
  EXPECT_EQ(attention.rope->scaling.kind, RopeScaling::Kind::llama3);
  EXPECT_EQ(attention.rope->scaling.original_context_length, 8192);
  EXPECT_FALSE(attention.rope->interleaved);
  EXPECT_EQ(attention.window, 0);
}

TEST(JsonConfig, TheHeadIsTiedWhenTheFileSaysSoOrHasNone) {
  EXPECT_TRUE(read(config_of("llama", "")).tied_embeddings);
  EXPECT_FALSE(read(config_of("llama", ""), {"lm_head.weight"}).tied_embeddings);
  EXPECT_TRUE(read(config_of("llama", R"(, "tie_word_embeddings": true)"), {"lm_head.weight"})
                  .tied_embeddings);
  EXPECT_FALSE(read(config_of("llama", R"(, "tie_word_embeddings": false)")).tied_embeddings);
}

TEST(JsonConfig, MistralWindowsEveryLayerAndLlamaNone) {
  const std::string window = R"(, "sliding_window": 4096)";
  EXPECT_EQ(windows(read(config_of("mistral", window))), std::vector<int>(4, 4096));
  EXPECT_EQ(windows(read(config_of("mistral", R"(, "sliding_window": null)"))),
            std::vector<int>(4, 0));
  EXPECT_EQ(windows(read(config_of("llama", window))), std::vector<int>(4, 0));
}

TEST(JsonConfig, LayerTypesSayWhichLayersAreWindowed) {
  const std::string types = R"(, "layer_types": ["full_attention", "sliding_attention",
                               "sliding_attention", "full_attention"], "sliding_window": 16)";
  for (const char* type : {"llama", "mistral", "gemma3_text"}) {
    EXPECT_EQ(windows(read(config_of(type, types))), (std::vector<int>{0, 16, 16, 0})) << type;
  }
}

TEST(JsonConfig, QwenWindowsOnlyWhereItSaysSo) {
  const std::string window = R"(, "sliding_window": 4096, "max_window_layers": 3)";
  EXPECT_EQ(windows(read(config_of("qwen2", window + R"(, "use_sliding_window": false)"))),
            std::vector<int>(4, 0));
  EXPECT_EQ(windows(read(config_of("qwen2", window + R"(, "use_sliding_window": true)"))),
            (std::vector<int>{0, 0, 0, 4096}));
}

TEST(JsonConfig, ReadsGemma3AsTransformersDoes) {
  const ModelConfig config = read(config_of("gemma3_text", R"(, "sliding_window": 512,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "query_pre_attn_scalar": 64)",
                                            7));
  EXPECT_FLOAT_EQ(config.norm_weight_offset, 1);
  EXPECT_FLOAT_EQ(config.embedding_scale, 8);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(windows(config), (std::vector<int>{512, 512, 512, 512, 512, 0, 512}));
  const AttentionConfig &local = config.attention[0], &global = config.attention[5];
  EXPECT_FLOAT_EQ(local.scale, 0.125f);
  EXPECT_FLOAT_EQ(global.scale, 0.125f);
  EXPECT_FLOAT_EQ(global.rope->theta, 1000000);
  EXPECT_EQ(global.rope->scaling.kind, RopeScaling::Kind::linear);
  EXPECT_FLOAT_EQ(local.rope->theta, 10000);
  EXPECT_EQ(local.rope->scaling.kind, RopeScaling::Kind::none);
}

TEST(JsonConfig, RoundsGemmasEmbeddingScaleToBfloat16) {
  const ModelConfig config = read(R"({"model_type": "gemma3", "text_config": {"model_type":
      "gemma3_text", "num_hidden_layers": 2, "hidden_size": 640, "intermediate_size": 2048,
      "vocab_size": 8, "sliding_window": 512}})");
  EXPECT_FLOAT_EQ(config.embedding_scale, 25.25f);  // sqrt(640) = 25.298
  EXPECT_EQ(config.heads, 8);                       // what transformers takes as default
  EXPECT_EQ(config.context_length, 131072);
}

TEST(JsonConfig, ReadsTheRopeParametersOfNewerFiles) {
  const ModelConfig config = read(config_of("gemma3_text", R"(, "rope_parameters": {
      "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2000000.0},
      "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}})",
                                            6));
  EXPECT_FLOAT_EQ(config.attention[5].rope->theta, 2000000);
  EXPECT_EQ(config.attention[5].rope->scaling.kind, RopeScaling::Kind::linear);
  EXPECT_FLOAT_EQ(config.attention[0].rope->theta, 20000);
  EXPECT_EQ(config.attention[0].rope->scaling.kind, RopeScaling::Kind::none);
}

TEST(JsonConfig, RefusesWhatItWouldGetWrong) {
  using testing::HasSubstr;
  EXPECT_THAT(
      complaint(config_of("llama", R"(, "rope_scaling": {"type": "dynamic", "factor": 2})")),
      HasSubstr("\"rope_scaling.rope_type\" is \"dynamic\"; mlxd knows"));
  EXPECT_THAT(complaint(config_of("llama", R"(, "partial_rotary_factor": 0.5)")),
              HasSubstr("mlxd rotates whole heads"));
  EXPECT_THAT(complaint(config_of("llama", R"(, "layer_types": ["full_attention", "mamba"])", 2)),
              HasSubstr("\"layer_types\" is \"mamba\""));
  EXPECT_THAT(complaint(config_of("llama", R"(, "layer_types": ["full_attention"])")),
              HasSubstr("\"layer_types\" has 1 entries for 4 layers"));
  EXPECT_THAT(complaint(config_of("llama", R"(, "head_dim": 33)")),
              HasSubstr("the head dimension is 33"));
  EXPECT_THAT(complaint(config_of("llama", R"(, "rms_norm_eps": "small")")),
              HasSubstr("\"rms_norm_eps\" is \"small\", not a number"));
  EXPECT_THAT(complaint(R"({"model_type": "llama", "num_hidden_layers": 1e9})"),
              HasSubstr("\"num_hidden_layers\" is 1E9, not an integer from 1 to 1024"));
  EXPECT_THAT(complaint(std::string(100, '[')), HasSubstr("is not valid JSON"));
}

TEST(JsonConfig, RefusesSettingsThatItDoesNotCompute) {
  using testing::HasSubstr;
  const auto refuses = [](const std::string& type, const std::string& setting) {
    return complaint(config_of(type, ", " + setting));
  };
  EXPECT_EQ(refuses("llama", R"("hidden_act": "silu")"), "");
  EXPECT_THAT(refuses("llama", R"("hidden_act": "relu2")"),
              HasSubstr("\"hidden_act\" is \"relu2\"; mlxd computes silu or swish here"));
  EXPECT_THAT(refuses("qwen3", R"("hidden_act": "gelu")"), HasSubstr("\"hidden_act\""));
  const std::string gemma = R"("sliding_window": 512, )";
  EXPECT_EQ(refuses("gemma3_text", gemma + R"("hidden_activation": "gelu_pytorch_tanh")"), "");
  EXPECT_THAT(refuses("gemma3_text", gemma + R"("hidden_activation": "silu")"),
              HasSubstr("\"hidden_activation\""));
  EXPECT_THAT(refuses("gemma3_text", gemma + R"("use_bidirectional_attention": true)"),
              HasSubstr("\"use_bidirectional_attention\" is true; mlxd's attention looks back"));
  EXPECT_THAT(refuses("llama", R"("rope_traditional": true)"), HasSubstr("\"rope_traditional\""));
  EXPECT_THAT(refuses("llama", R"("is_encoder_decoder": true)"), HasSubstr("is_encoder_decoder"));
  EXPECT_THAT(refuses("llama", R"("attention_bias": true)"),
              HasSubstr("is true, and there is no tensor "
                        "\"model.layers.0.self_attn.q_proj.bias\""));
  EXPECT_THAT(refuses("llama", R"("mlp_bias": true)"), HasSubstr("mlp.gate_proj.bias"));
}

}  // namespace
}  // namespace mlxd
