// Granite 4 (IBM Granite Team 2025): most layers are Mamba-2, the others attention that does not
// turn; behind each experts beside a shared one, or of the small models a feed-forward layer.
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/granite.h"
#include "model/architectures/mamba2_config.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/renamed_weights.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) {
  granite_gguf_defaults(config);
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  granite_gguf_finish(config, file);
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  read_gguf_mamba2(fields, file, config);
}

// transformers, GraniteMoeHybridConfig.
void json_defaults(ModelConfig& config) {
  granite_json_defaults(config);
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  granite_json_finish(config, fields);
  read_json_mamba2(fields,
                   {.heads = "mamba_n_heads",
                    .head_dim = "mamba_d_head",
                    .groups = "mamba_n_groups",
                    .state_size = "mamba_d_state",
                    .kernel = "mamba_d_conv"},
                   config);
  const auto positions = fields.string("position_embedding_type");
  if (!positions || *positions == "rope") return;
  if (*positions != "nope") {
    fields.fail("position_embedding_type",
                fmt::format("is {}; mlxd computes rope or nope here", in_quotes(*positions)));
  }
  for (AttentionConfig& layer : config.attention) layer.rope.reset();
}

// Gate and up are the halves of one matrix.
template <class Mlp>
void read_fused(const PlanBuilder& builder, int layer, int hidden, int size, Mlp& mlp) {
  const Linear both =
      builder.linear(layer, "shared_mlp.input_linear", 2 * std::int64_t{size}, hidden);
  mlp.gate = rows_of(both, 0, size);
  mlp.up = rows_of(both, size, size);
  mlp.down = builder.linear(layer, "shared_mlp.output_linear", hidden, size);
}

Block feed_forward(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  constexpr const char* kNorm = "post_attention_layernorm";
  const bool fused = builder.has(layer, "shared_mlp.input_linear.weight");
  const int hidden = config.hidden_size;
  if (builder.has(layer, "block_sparse_moe.router.layer.weight")) {
    ExpertsBlock block = builder.experts(layer, "block_sparse_moe.router.layer",
                                         "block_sparse_moe.switch_mlp", kNorm);
    if (fused) {
      read_fused(builder, layer, hidden, config.experts.shared_intermediate_size,
                 block.shared.emplace());
    }
    return block;
  }
  if (!fused) return builder.feed_forward_or_experts(layer, kNorm);
  FeedForwardBlock block;
  block.input_norm = builder.norm(layer, kNorm, hidden);
  read_fused(builder, layer, hidden, config.intermediate_size, block);
  block.residual_scale = config.residual_scale;
  return block;
}

// As transformers stores them, experts in one tensor too.
constexpr ModuleName kFolderNames[] = {
    {"block_sparse_moe.input_linear", "block_sparse_moe.switch_mlp.gate_up_proj"},
    {"block_sparse_moe.output_linear", "block_sparse_moe.switch_mlp.down_proj"}};

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, renamed(std::move(weights), kFolderNames));
  for (int layer = 0; layer < config.layers; ++layer) {
    if (config.attention[static_cast<std::size_t>(layer)].recurrent) {
      builder.add(builder.mamba2(layer));
    } else {
      builder.add(builder.attention(layer));
    }
    builder.add(feed_forward(builder, config, layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"granitemoehybrid"};

}  // namespace

Architecture granitemoehybrid_architecture() {
  return {
      .name = "granitemoehybrid",
      .model_types = kModelTypes,
      .gguf_name = "granitehybrid",
      .gguf_names = kMamba2GgufNames,
      .recurrent_type = "mamba",
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
