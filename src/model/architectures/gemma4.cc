// Gemma 4, text (Gemma Team 2026): as Gemma 3 with norms around every block, and layers that see
// all of a text with larger heads than those that see a window. Some sizes have in place of values
// the keys before their norm, some give the last layers the keys and values of earlier ones and
// tell every layer of the row's token once more, and some have experts beside their feed-forward
// layer.
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/overloaded.h"
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"
#include "model/json_rope.h"

namespace mlxd {
namespace {

constexpr std::int64_t kUsualPattern = 6;  // every sixth layer sees all
constexpr float kWindowedTheta = 10000;

void finish(ModelConfig& config) {
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  for (AttentionConfig& layer : config.attention) layer.scale = 1;
}

void gguf_defaults(ModelConfig& config) {
  config.rope.theta = 1000000;
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

// llama.cpp, conversion/gemma.py: the head's size is that of layers that see all.
void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  window_by_gguf(config, file, kUsualPattern);
  RopeConfig rope = gguf_sliding_rope(config, file, kWindowedTheta);
  const int head_dim =
      fields.optional_integer("attention.key_length_swa", 1, kMaxHeadDim).value_or(config.head_dim);
  rope.dimensions =
      fields.optional_integer("rope.dimension_count_swa", 1, kMaxHeadDim).value_or(head_dim);
  turn_windowed_layers_by(config, rope);
  for (AttentionConfig& layer : config.attention) {
    if (layer.window > 0) {
      layer.head_dim = head_dim;
      continue;
    }
    // Pairs that do not turn are written as ones that turn very slowly.
    constexpr float kStands = 1e20f;
    for (float& divisor : layer.rope->divisors) {
      if (divisor > kStands) divisor = std::numeric_limits<float>::infinity();
    }
  }
  config.head_dim = head_dim;
  config.sharing_layers =
      fields.optional_integer("attention.shared_kv_layers", 0, config.layers - 1).value_or(0);
  config.layer_input_size =
      fields.optional_integer("embedding_length_per_layer_input", 0, kMaxHiddenSize).value_or(0);
  // Files name its function as llama.cpp computes it, over all and then normalised: the same.
  config.experts.scoring = ExpertScoring::softmax_chosen;
  finish(config);
}

// mlx-lm, gemma4_text.py.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.heads = 8;
  config.kv_heads = 1;
  config.head_dim = 256;
  config.context_length = 131072;
  config.rope.theta = 1000000;
  config.sliding_window = 512;
  config.logit_softcap = 30;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  constexpr std::int64_t kPattern = 5;
  if (!fields.has("layer_types")) {
    window_by_pattern(config,
                      fields.integer("sliding_window_pattern", 1, kMaxLayers).value_or(kPattern));
  }
  turn_windowed_layers_by(config, read_json_sliding_rope(fields, config, kWindowedTheta));
  ModelConfig whole = config;
  whole.head_dim = fields.count("global_head_dim", kMaxHeadDim, 512);
  whole.rope = {.theta = config.rope.theta};
  read_json_rope(fields, /*partial=*/true, whole);
  const bool keys_are_values = fields.boolean("attention_k_eq_v").value_or(false);
  const int kv_heads = fields.count("num_global_key_value_heads", kMaxHeads, config.kv_heads);
  for (AttentionConfig& layer : config.attention) {
    if (layer.window > 0) continue;
    layer.head_dim = whole.head_dim;
    layer.rope = whole.rope;
    if (keys_are_values) layer.kv_heads = kv_heads;
  }
  config.sharing_layers =
      static_cast<int>(fields.integer("num_kv_shared_layers", 0, config.layers - 1).value_or(0));
  if (config.sharing_layers > 0 && fields.boolean("use_double_wide_mlp").value_or(true)) {
    config.intermediate_sizes.assign(config.layers, config.intermediate_size);
    for (int i = 0; i < config.sharing_layers; ++i) {
      config.intermediate_sizes[config.layers - 1 - i] *= 2;
    }
  }
  config.layer_input_size = static_cast<int>(
      fields.integer("hidden_size_per_layer_input", 0, kMaxHiddenSize).value_or(0));
  if (!fields.boolean("enable_moe_block").value_or(false)) config.experts = {};
  config.experts.chosen = static_cast<int>(
      fields.integer("top_k_experts", 1, kMaxExperts).value_or(config.experts.chosen));
  config.experts.scoring = ExpertScoring::softmax_chosen;
  finish(config);
}

AttentionBlock attention(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  const int hidden = config.hidden_size;
  AttentionBlock block = builder.describe_attention(layer);
  block.input_norm = builder.norm(layer, "input_layernorm", hidden);
  block.query = builder.linear(layer, "self_attn.q_proj", block.heads * block.head_dim, hidden);
  block.query_norm = builder.norm(layer, "self_attn.q_norm", block.head_dim);
  block.shares_cache = layer >= config.layers - config.sharing_layers;
  if (!block.shares_cache) {
    const int size = block.kv_heads * block.head_dim;
    block.key = builder.linear(layer, "self_attn.k_proj", size, hidden);
    block.key_norm = builder.norm(layer, "self_attn.k_norm", block.head_dim);
    block.value = builder.has(layer, "self_attn.v_proj.weight")
                      ? builder.linear(layer, "self_attn.v_proj", size, hidden)
                      : block.key;
    block.value_norm = {std::vector<float>(block.head_dim, 1), config.norm_epsilon};
  }
  block.output = builder.linear(layer, "self_attn.o_proj", hidden, block.heads * block.head_dim);
  block.post_norm = builder.norm(layer, "post_attention_layernorm", hidden);
  return block;
}

// The last layer of the same kind before those that share.
int source_of(const ModelConfig& config, int layer) {
  const bool windowed = config.attention[layer].window > 0;
  for (int i = config.layers - config.sharing_layers - 1; i >= 0; --i) {
    if ((config.attention[i].window > 0) == windowed) return i;
  }
  throw LoadError(fmt::format("layer {} shares keys and values, and no earlier layer {}", layer,
                              windowed ? "sees a window" : "sees all"));
}

// What the file has under one of these names.
std::vector<float> numbers(const PlanBuilder& builder, int layer,
                           std::initializer_list<const char*> names, int size) {
  for (const char* name : names) {
    if (auto values = builder.numbers(layer, name, size)) return *std::move(values);
  }
  throw LoadError(
      fmt::format("tensor {} is missing", PlanBuilder::layer_module(layer, *names.begin())));
}

Block feed_forward(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  const int hidden = config.hidden_size;
  FeedForwardBlock dense = builder.feed_forward(layer, "pre_feedforward_layernorm");
  const RmsNorm post_norm = builder.norm(layer, "post_feedforward_layernorm", hidden);
  if (config.experts.count == 0) {
    dense.post_norm = post_norm;
    dense.activation = Activation::gelu_tanh;
    return dense;
  }
  ExpertsBlock block =
      builder.experts(layer, "router.proj", "experts.switch_glu", "pre_feedforward_layernorm_2");
  block.router_norm = {numbers(builder, layer, {"router.scale", "router.proj.scale"}, hidden),
                       config.norm_epsilon};
  const float root = std::sqrt(static_cast<float>(hidden));
  for (float& weight : block.router_norm->weight) weight /= root;
  block.choice.expert_scales =
      numbers(builder, layer, {"router.per_expert_scale", "experts.switch_glu.down_proj.scale"},
              config.experts.count);
  block.experts_norm = builder.norm(layer, "post_feedforward_layernorm_2", hidden);
  block.activation = Activation::gelu_tanh;
  block.shared = SharedExpert{
      .input_norm = std::move(dense.input_norm),
      .gate = std::move(dense.gate),
      .up = std::move(dense.up),
      .down = std::move(dense.down),
      .weight = {},
      .output_norm = builder.norm(layer, "post_feedforward_layernorm_1", hidden),
  };
  block.post_norm = post_norm;
  return block;
}

LayerInputs layer_inputs(const PlanBuilder& builder, const ModelConfig& config) {
  const int size = config.layer_input_size;
  const std::int64_t all = std::int64_t{config.layers} * size;
  return {.layers = config.layers,
          .size = size,
          .table = builder.table("model.embed_tokens_per_layer", config.vocab_size, all),
          .projection = builder.linear("model.per_layer_model_projection", all, config.hidden_size),
          .norm = builder.norm("model.per_layer_projection_norm", size),
          .table_scale = std::sqrt(static_cast<float>(size)),
          .projection_scale = 1 / std::sqrt(static_cast<float>(config.hidden_size)),
          .scale = std::sqrt(0.5f)};
}

LayerInputBlock layer_input(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  const int hidden = config.hidden_size, size = config.layer_input_size;
  return {.index = layer,
          .gate = builder.linear(layer, "per_layer_input_gate", size, hidden),
          .output = builder.linear(layer, "per_layer_projection", hidden, size),
          .post_norm = builder.norm(layer, "post_per_layer_input_norm", hidden)};
}

void scale_stream(Block& block, float scale) {
  const Overloaded set = {
      [&](FeedForwardBlock& of) { of.stream_scale = scale; },
      [&](ExpertsBlock& of) { of.stream_scale = scale; },
      [&](LayerInputBlock& of) { of.stream_scale = scale; },
      [](auto&) {},
  };
  std::visit(set, block);
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  if (config.layer_input_size > 0) builder.set(layer_inputs(builder, config));
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock block = attention(builder, config, layer);
    // Layers before those that share have KV layers of their own, in their order.
    if (block.shares_cache) block.layer = source_of(config, layer);
    builder.add(std::move(block));

    std::vector<Block> rest = {feed_forward(builder, config, layer)};
    if (config.layer_input_size > 0) rest.emplace_back(layer_input(builder, config, layer));
    for (const char* name : {"layer_scalar", "layer_scalar.weight"}) {
      if (const auto scale = builder.numbers(layer, name, 1)) {
        scale_stream(rest.back(), scale->front());
      }
    }
    for (Block& each : rest) builder.add(std::move(each));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"gemma4_text", "gemma4", "gemma4_unified"};
constexpr std::string_view kActivations[] = {"gelu_pytorch_tanh"};
constexpr GgufName kGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                   {"attn_k_norm", "self_attn.k_norm"},
                                   {"post_attention_norm", "post_attention_layernorm"},
                                   {"ffn_norm", "pre_feedforward_layernorm"},
                                   {"post_ffw_norm", "post_feedforward_layernorm"},
                                   {"post_ffw_norm_1", "post_feedforward_layernorm_1"},
                                   {"pre_ffw_norm_2", "pre_feedforward_layernorm_2"},
                                   {"post_ffw_norm_2", "post_feedforward_layernorm_2"},
                                   {"layer_output_scale", "layer_scalar"},
                                   {"ffn_gate_inp", "router.proj"},
                                   {"ffn_gate_up_exps", "experts.switch_glu.gate_up_proj"},
                                   {"ffn_gate_exps", "experts.switch_glu.gate_proj"},
                                   {"ffn_up_exps", "experts.switch_glu.up_proj"},
                                   {"ffn_down_exps", "experts.switch_glu.down_proj"},
                                   {"inp_gate", "per_layer_input_gate"},
                                   {"proj", "per_layer_projection"},
                                   {"post_norm", "post_per_layer_input_norm"},
                                   {"per_layer_token_embd", "model.embed_tokens_per_layer"},
                                   {"per_layer_model_proj", "model.per_layer_model_projection"},
                                   {"per_layer_proj_norm", "model.per_layer_projection_norm"}};

}  // namespace

Architecture gemma4_architecture() {
  return {
      .name = "gemma4_text",
      .model_types = kModelTypes,
      .gguf_name = "gemma4",
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .experts = true,
      .activation_key = "hidden_activation",
      .activations = kActivations,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
