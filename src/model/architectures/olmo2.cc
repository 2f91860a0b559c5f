// OLMo 2 (OLMo Team 2024) and 3 (2025): Llama whose blocks read the residual stream as it is and
// have a norm behind them instead, with norms over all heads of q and of k as one vector. In OLMo 3
// three of four layers see a window, and only the others' rope is scaled.
#include <utility>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/json_rope.h"

namespace mlxd {
namespace {

constexpr std::int64_t kUsualPattern = 4;  // every fourth layer sees all
constexpr int kUsualWindow = 4096;

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  if (config.sliding_window == 0) return;  // OLMo 2
  window_by_gguf(config, file, kUsualPattern);
  turn_windowed_layers_by(config, gguf_sliding_rope(config, file, config.rope.theta));
}

// transformers, Olmo2Config and Olmo3Config.
void json_defaults(ModelConfig& config) { config.context_length = 2048; }

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (fields.string("model_type").value_or("") != "olmo3") return;
  if (config.sliding_window == 0) config.sliding_window = kUsualWindow;
  if (!fields.has("layer_types")) window_by_pattern(config, kUsualPattern);
  turn_windowed_layers_by(config, read_json_sliding_rope(fields, config, config.rope.theta));
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  const int hidden = config.hidden_size;
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention_normed_over_rows(layer, "");
    attention.post_norm = builder.norm(layer, "post_attention_layernorm", hidden);
    builder.add(std::move(attention));

    FeedForwardBlock feed_forward = builder.feed_forward(layer, "");
    feed_forward.post_norm = builder.norm(layer, "post_feedforward_layernorm", hidden);
    builder.add(std::move(feed_forward));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"olmo2", "olmo3"};
constexpr GgufName kGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                   {"attn_k_norm", "self_attn.k_norm"},
                                   {"post_attention_norm", "post_attention_layernorm"},
                                   {"post_ffw_norm", "post_feedforward_layernorm"}};

}  // namespace

Architecture olmo2_architecture() {
  return {
      .name = "olmo2",
      .model_types = kModelTypes,
      .gguf_name = "olmo2",
      .gguf_names = kGgufNames,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
