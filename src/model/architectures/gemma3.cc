// Gemma 3, text (Gemma Team 2025): norms before and after both blocks and on every head of q and k,
// five windowed layers with their own rope to one that sees all, GELU, scaled embeddings.
#include <bit>
#include <cmath>
#include <cstdint>

#include "model/architectures/architecture.h"
#include "model/architectures/gemma.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/config_limits.h"
#include "model/json_rope.h"

namespace mlxd {
namespace {

constexpr std::int64_t kUsualPattern = 6;  // every sixth layer sees all
constexpr float kWindowedTheta = 10000;

// Rounded to the nearest bfloat16, ties to even.
float round_to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

// query_pre_attn_scalar, which takes the place of the head's size.
void scale_queries(ModelConfig& config, float scalar) {
  for (AttentionConfig& layer : config.attention) layer.scale = 1 / std::sqrt(scalar);
}

float root_of_hidden_size(const ModelConfig& config) {
  return std::sqrt(static_cast<float>(config.hidden_size));
}

}  // namespace

void scale_as_gguf(ModelConfig& config, int layers_of_27b) {
  config.embedding_scale = root_of_hidden_size(config);
  if (config.layers != layers_of_27b) return;
  scale_queries(config, static_cast<float>(config.hidden_size) / static_cast<float>(config.heads));
}

void scale_as_json(ModelConfig& config, const JsonFields& fields) {
  config.embedding_scale = round_to_bfloat16(root_of_hidden_size(config));
  scale_queries(
      config, static_cast<float>(fields.number("query_pre_attn_scalar", 1e-3, 1e6).value_or(256)));
}

ModelPlan plan_gemma(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention(layer);
    if (config.architecture == "gemma3_text") {
      attention.query_norm = builder.norm(layer, "self_attn.q_norm", config.head_dim);
      attention.key_norm = builder.norm(layer, "self_attn.k_norm", config.head_dim);
    }
    attention.post_norm = builder.norm(layer, "post_attention_layernorm", config.hidden_size);
    builder.add(std::move(attention));

    FeedForwardBlock feed_forward = builder.feed_forward(layer, "pre_feedforward_layernorm");
    feed_forward.post_norm = builder.norm(layer, "post_feedforward_layernorm", config.hidden_size);
    feed_forward.activation = Activation::gelu_tanh;
    builder.add(std::move(feed_forward));
  }
  return builder.finish();
}

namespace {

void gguf_defaults(ModelConfig& config) { config.rope.theta = 1000000; }

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  window_by_gguf(config, file, kUsualPattern);
  turn_windowed_layers_by(config, gguf_sliding_rope(config, file, kWindowedTheta));
  constexpr int kLayersOf27B = 62;
  scale_as_gguf(config, kLayersOf27B);
}

// transformers, Gemma3TextConfig; the multimodal models' files leave all of these out.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.norm_weight_offset = 1;  // GGUF's converter has added it already
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 256;
  config.context_length = 131072;
  config.rope.theta = 1000000;
  config.sliding_window = 4096;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  scale_as_json(config, fields);
  if (!fields.has("layer_types")) {
    const char* name =
        fields.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
    window_by_pattern(config, fields.integer(name, 1, kMaxLayers).value_or(kUsualPattern));
  }
  const auto theta = fields.number("rope_local_base_freq", 1, 1e12).value_or(kWindowedTheta);
  turn_windowed_layers_by(config,
                          read_json_sliding_rope(fields, config, static_cast<float>(theta)));
}

constexpr std::string_view kModelTypes[] = {"gemma3_text", "gemma3"};

}  // namespace

Architecture gemma3_architecture() {
  return {
      .name = "gemma3_text",
      .model_types = kModelTypes,
      .gguf_name = "gemma3",
      .gguf_names = kGemmaGgufNames,
      .activation_key = "hidden_activation",
      .activations = kGemmaActivations,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_gemma,
  };
}

}  // namespace mlxd
