// Nemotron-H, Nemotron Nano 2 and Nemotron 3 (NVIDIA 2025): each layer is one block, Mamba-2,
// attention that does not turn, a feed-forward layer without a gate or experts without one.
#include <algorithm>
#include <string>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include "model/architectures/mamba2_config.h"
#include "model/architectures/nemotron.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/renamed_weights.h"
#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

// A letter a layer, as hybrid_override_pattern has them.
constexpr char kMamba = 'M', kAttention = '*', kFeedForward = '-', kExperts = 'E';

void defaults(ModelConfig& config) {
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
  config.intermediate_size = 1;  // where no layer is dense, files say nothing of its size
}

void stop_turning(ModelConfig& config) {
  for (AttentionConfig& layer : config.attention) layer.rope.reset();
}

// Layers without KV heads are Mamba-2 unless they have a hidden layer.
void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  read_gguf_mamba2(fields, file, config);
  stop_turning(config);
  for (std::size_t layer = 0; layer < config.intermediate_sizes.size(); ++layer) {
    if (config.intermediate_sizes[layer] > 0) config.attention[layer].recurrent = false;
  }
}

void json_defaults(ModelConfig& config) {
  defaults(config);
  config.context_length = 4096;
}

char kind_of(std::string_view name) {
  if (name == "mamba" || name == "linear_attention" || name == "conv") return kMamba;
  if (name == "attention" || name == "full_attention") return kAttention;
  if (name == "mlp") return kFeedForward;
  return name == "moe" ? kExperts : '?';
}

// hybrid_override_pattern or the older lists of names.
std::string pattern_of(const JsonFields& fields) {
  if (const auto pattern = fields.string("hybrid_override_pattern")) return *pattern;
  const boost::json::array* names = fields.array("layers_block_type");
  if (names == nullptr) fields.fail("hybrid_override_pattern", "is missing");
  std::string pattern;
  for (const boost::json::value& each : *names) {
    const auto* text = each.if_string();
    pattern += text == nullptr ? '?' : kind_of({text->data(), text->size()});
  }
  return pattern;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  for (const char* name : {"norm_eps", "layer_norm_epsilon"}) {
    if (const auto epsilon = fields.number(name, 0, 1)) {
      config.norm_epsilon = static_cast<float>(*epsilon);
    }
  }
  if (fields.has("moe_latent_size")) {
    fields.fail("moe_latent_size", "is there; mlxd does not compute experts in a latent space");
  }
  if (const auto shared =
          fields.integer("moe_shared_expert_intermediate_size", 0, kMaxIntermediateSize);
      shared && config.experts.shared_intermediate_size > 0) {
    config.experts.shared_intermediate_size = static_cast<int>(*shared);
  }
  read_json_mamba2(fields,
                   {.heads = "mamba_num_heads",
                    .head_dim = "mamba_head_dim",
                    .groups = "n_groups",
                    .state_size = "ssm_state_size",
                    .kernel = "conv_kernel"},
                   config);
  stop_turning(config);
  const std::string pattern = pattern_of(fields);
  constexpr std::string_view kKnown = "M*-E";
  if (pattern.size() != config.attention.size() ||
      pattern.find_first_not_of(kKnown) != std::string::npos) {
    fields.fail("hybrid_override_pattern",
                fmt::format("is {}, which does not tell the kinds of {} layers by M, *, - and E",
                            in_quotes(pattern), config.layers));
  }
  for (std::size_t layer = 0; layer < pattern.size(); ++layer) {
    config.attention[layer].recurrent = pattern[layer] == kMamba;
  }
}

constexpr const char* kNorm = "input_layernorm";

FeedForwardBlock feed_forward(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  const int hidden = config.hidden_size;
  const int size = config.intermediate_sizes.empty()
                       ? config.intermediate_size
                       : config.intermediate_sizes[static_cast<std::size_t>(layer)];
  FeedForwardBlock block;
  block.input_norm = builder.norm(layer, kNorm, hidden);
  block.up = builder.linear(layer, "mlp.up_proj", size, hidden);
  block.down = builder.linear(layer, "mlp.down_proj", hidden, size);
  block.activation = Activation::squared_relu;
  return block;
}

ExpertsBlock experts(const PlanBuilder& builder, const ModelConfig& config, int layer) {
  ExpertsBlock block =
      builder.experts(layer, "mlp.gate", "mlp.switch_mlp", kNorm, PlanBuilder::GateAndUp::up_alone);
  for (const char* bias :
       {"mlp.gate.e_score_correction_bias", "mlp.gate.e_score_correction.bias"}) {
    if (auto numbers = builder.numbers(layer, bias, block.experts)) {
      block.choice.bias = *std::move(numbers);
    }
  }
  block.activation = Activation::squared_relu;
  if (const int size = config.experts.shared_intermediate_size) {
    SharedExpert& shared = block.shared.emplace();
    shared.up = builder.linear(layer, "mlp.shared_experts.up_proj", size, config.hidden_size);
    shared.down = builder.linear(layer, "mlp.shared_experts.down_proj", config.hidden_size, size);
  }
  return block;
}

constexpr ModuleName kFolderNames[] = {{"embeddings", "embed_tokens"},
                                       {"norm_f", "norm"},
                                       {"norm", "input_layernorm"},
                                       {"mixer.switch_mlp.fc1", "mlp.switch_mlp.up_proj"},
                                       {"mixer.switch_mlp.fc2", "mlp.switch_mlp.down_proj"},
                                       {"mixer", "mlp"},
                                       {"mixer", "self_attn"},
                                       {"mixer", "mamba"}};

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, renamed(std::move(weights), kFolderNames, "backbone"));
  for (int layer = 0; layer < config.layers; ++layer) {
    if (config.attention[static_cast<std::size_t>(layer)].recurrent) {
      Mamba2Block block = builder.mamba2(layer);
      block.norm_groups = block.groups;
      builder.add(std::move(block));
    } else if (builder.has(layer, "self_attn.q_proj.weight")) {
      builder.add(builder.attention(layer));
    } else if (builder.has(layer, "mlp.gate.weight")) {
      builder.add(experts(builder, config, layer));
    } else {
      builder.add(feed_forward(builder, config, layer));
    }
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"nemotron_h"};
constexpr std::string_view kActivations[] = {"relu2"};
constexpr auto kGgufNames = with_mamba2_names({{"ffn_up_shexp", "mlp.shared_experts.up_proj"},
                                               {"ffn_down_shexp", "mlp.shared_experts.down_proj"}});

}  // namespace

Architecture nemotron_h_like(std::string_view name, std::span<const std::string_view> model_types,
                             std::string_view gguf_name) {
  return {
      .name = name,
      .model_types = model_types,
      .gguf_name = gguf_name,
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .recurrent_type = "mamba",
      .experts = true,
      .activation_key = "mlp_hidden_act",
      .activations = kActivations,
      .gguf_defaults = defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

Architecture nemotron_h_architecture() {
  return nemotron_h_like("nemotron_h", kModelTypes, "nemotron_h");
}

}  // namespace mlxd
