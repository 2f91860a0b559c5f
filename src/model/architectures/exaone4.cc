// EXAONE 4 (LG AI Research 2025): norms behind both blocks and on every head of q and k; the larger
// model's layers see a window, but every fourth, which sees all and does not turn.
#include <algorithm>
#include <string>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/config_limits.h"

namespace mlxd {
namespace {

constexpr int kUsualPattern = 4;

// Where some layers see a window, the others do not turn.
void stop_turning_the_others(ModelConfig& config) {
  const auto windowed = [](const AttentionConfig& layer) { return layer.window > 0; };
  if (std::ranges::none_of(config.attention, windowed)) return;
  for (AttentionConfig& layer : config.attention) {
    if (!windowed(layer)) layer.rope.reset();
  }
}

void gguf_defaults(ModelConfig& config) { config.rope.theta = 1000000; }

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  if (config.sliding_window > 0) window_by_gguf(config, file, kUsualPattern);
  stop_turning_the_others(config);
}

// transformers, Exaone4Config.
void json_defaults(ModelConfig& config) {
  config.context_length = 2048;
  config.rope.theta = 10000;
}

// "LLLG": which layers of each so many see a window (L) and which all (G). Where there is none, all
// see all.
void window_by_letters(ModelConfig& config, const JsonFields& fields, const std::string& letters) {
  if (letters.empty() || letters.find_first_not_of("LG") != std::string::npos) {
    fields.fail("sliding_window_pattern", "is not of the letters L and G, such as LLLG");
  }
  for (std::size_t layer = 0; layer < config.attention.size(); ++layer) {
    const bool local = letters[layer % letters.size()] == 'L';
    config.attention[layer].window = local ? config.sliding_window : 0;
  }
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (const auto letters = fields.string("sliding_window_pattern");
      letters && !fields.has("layer_types")) {
    window_by_letters(config, fields, *letters);
  }
  stop_turning_the_others(config);
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention(layer, PlanBuilder::Bias::where_present, "");
    attention.query_norm = builder.norm(layer, "self_attn.q_norm", config.head_dim);
    attention.key_norm = builder.norm(layer, "self_attn.k_norm", config.head_dim);
    attention.post_norm = builder.norm(layer, "post_attention_layernorm", config.hidden_size);
    builder.add(std::move(attention));

    FeedForwardBlock feed_forward = builder.feed_forward(layer, "");
    feed_forward.post_norm = builder.norm(layer, "post_feedforward_layernorm", config.hidden_size);
    builder.add(std::move(feed_forward));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"exaone4"};
constexpr GgufName kGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                   {"attn_k_norm", "self_attn.k_norm"},
                                   {"post_attention_norm", "post_attention_layernorm"},
                                   {"post_ffw_norm", "post_feedforward_layernorm"}};

}  // namespace

Architecture exaone4_architecture() {
  return {
      .name = "exaone4",
      .model_types = kModelTypes,
      .gguf_name = "exaone4",
      .gguf_names = kGgufNames,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
