// Gemma 3, text (Gemma Team 2025): norms before and after both blocks and on every head of q and k,
// five windowed layers with their own rope to one that sees all, GELU, scaled embeddings.
#include <bit>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "model/architectures/architectures.h"
#include "model/architectures/plan_builder.h"
#include "model/config_limits.h"

namespace mlxd {
namespace {

constexpr int kUsualPattern = 6;  // every sixth layer sees all

void window_by_pattern(ModelConfig& config, std::int64_t pattern) {
  config.windowed_layers.clear();
  for (int layer = 0; layer < config.layers; ++layer) {
    config.windowed_layers.push_back((layer + 1) % pattern != 0);
  }
}

// Rounded to the nearest bfloat16, ties to even.
float round_to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

}  // namespace

void gemma3_gguf_finish(ModelConfig& config, const GgufFile& file) {
  const std::string pattern = "gemma3.attention.sliding_window_pattern";
  if (config.sliding_window == 0) {
    config.windowed_layers.clear();
  } else if (file.is_array(pattern)) {
    config.windowed_layers = *file.booleans(pattern);
  } else {
    window_by_pattern(config, file.integer(pattern, 1, kMaxLayers).value_or(kUsualPattern));
  }
  if (!file.has("gemma3.rope.freq_base")) config.rope_theta = 1000000;
  config.rope_local_theta =
      static_cast<float>(file.number("gemma3.rope.freq_base_swa", 1, 1e12).value_or(10000));
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  // query_pre_attn_scalar is not in the file. It is the head dimension but for the 27B model, which
  // llama.cpp, too, knows by its 62 layers.
  constexpr int kLayersOf27B = 62;
  if (config.layers == kLayersOf27B) {
    config.query_scale =
        1 / std::sqrt(static_cast<float>(config.hidden_size) / static_cast<float>(config.heads));
  }
}

// transformers, Gemma3TextConfig; the multimodal models' files leave all of these out.
void gemma3_json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 256;
  config.context_length = 131072;
  config.rope_theta = 1000000;
  config.sliding_window = 4096;
}

void gemma3_json_finish(ModelConfig& config, const JsonFields& fields) {
  config.norm_weight_offset = 1;
  // transformers and mlx-lm hold the scale in the weights' bfloat16: 25.25 for a hidden size of
  // 640.
  config.embedding_scale = round_to_bfloat16(std::sqrt(static_cast<float>(config.hidden_size)));
  config.query_scale = static_cast<float>(
      1 / std::sqrt(fields.number("query_pre_attn_scalar", 1e-3, 1e6).value_or(256)));
  const char* name =
      fields.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
  window_by_pattern(config, fields.integer(name, 1, kMaxLayers).value_or(kUsualPattern));
}

ModelPlan plan_gemma3(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    const auto norm = [&](std::string_view part, int size) {
      return builder.norm(PlanBuilder::layer_module(layer, part), size);
    };
    AttentionBlock attention = builder.attention(layer);
    attention.query_norm = norm("self_attn.q_norm", config.head_dim);
    attention.key_norm = norm("self_attn.k_norm", config.head_dim);
    attention.post_norm = norm("post_attention_layernorm", config.hidden_size);
    if (attention.window > 0) attention.rope = builder.local_rope();
    builder.add(std::move(attention));

    FeedForwardBlock feed_forward = builder.feed_forward(layer, "pre_feedforward_layernorm");
    feed_forward.post_norm = norm("post_feedforward_layernorm", config.hidden_size);
    feed_forward.activation = Activation::gelu_tanh;
    builder.add(std::move(feed_forward));
  }
  return builder.finish();
}

}  // namespace mlxd
