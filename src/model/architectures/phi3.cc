// Phi-3 (Abdin et al. 2024), Phi-4 and Phi-4-mini: Llama that stores q, k and v as one matrix, and
// gate and up as another; in the smaller ones a part of each head turns, by LongRoPE.
#include <utility>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"

namespace mlxd {
namespace {

// All layers see the window, as in transformers; llama.cpp sees everything, and mlx-lm too.
void window_all(ModelConfig& config) {
  if (config.sliding_window >= config.context_length) config.sliding_window = 0;
  window_every_layer(config);
}

void gguf_finish(ModelConfig& config, const GgufFile&) { window_all(config); }

void json_defaults(ModelConfig& config) { config.context_length = 4096; }

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (!fields.has("layer_types")) window_all(config);
}

AttentionBlock attention(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  const int hidden = config.hidden_size;
  const int query = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  AttentionBlock block = builder.describe_attention(layer);
  block.input_norm = builder.norm(layer, "input_layernorm", hidden);
  const Linear qkv = builder.linear(layer, "self_attn.qkv_proj", query + 2 * kv, hidden);
  block.query = rows_of(qkv, 0, query);
  block.key = rows_of(qkv, query, kv);
  block.value = rows_of(qkv, query + kv, kv);
  block.output = builder.linear(layer, "self_attn.o_proj", hidden, query);
  return block;
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(attention(builder, config, layer));
    builder.add(builder.feed_forward_of_one(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"phi3"};
constexpr GgufName kGgufNames[] = {{"attn_qkv", "self_attn.qkv_proj"},
                                   {"ffn_up", "mlp.gate_up_proj"}};

}  // namespace

Architecture phi3_architecture() {
  return {
      .name = "phi3",
      .model_types = kModelTypes,
      .gguf_name = "phi3",
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
