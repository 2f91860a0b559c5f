// DeepSeek-V2 and V3 (DeepSeek-AI 2024), and who took over their shape: Kimi K2 and GLM-4.7-Flash.
// Latent attention, and behind the first dense layers experts in groups beside shared ones.
#include <algorithm>

#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/latent_attention.h"
#include "model/architectures/plan_builder.h"
#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) { config.experts.scoring = ExpertScoring::softmax; }

// Files from before the key have the bias that goes with V3's sigmoid, or V2's softmax.
bool has_choice_bias(const GgufFile& file) {
  return std::ranges::any_of(file.tensors(), [](const Tensor& tensor) {
    return tensor.name.ends_with(".exp_probs_b.bias");
  });
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, "deepseek2");
  read_latent(fields, file, config);
  config.latent.norm_epsilon = config.norm_epsilon;
  if (!file.has(fields.key("expert_gating_func")) && has_choice_bias(file)) {
    config.experts.scoring = ExpertScoring::sigmoid;
  }
  config.experts.groups_by_best = config.experts.scoring == ExpertScoring::softmax;
  // mscale_all_dim, a tenth of it in files of this architecture; the mscale beside it is the same.
  const double weight = 10 * fields.number("rope.scaling.yarn_log_multiplier", 0, 1e3, 0);
  RopeScaling& scaling = config.rope.scaling;
  if (weight != 0 && scaling.kind == RopeScaling::Kind::yarn) scaling.attention_factor = 1;
  describe_latent_layers(config, yarn_score_factor(scaling, weight));
  // Mistral Large 3.
  const float beta = fields.number("attention.temperature_scale", 0, 1e3, 0);
  if (beta == 0) return;
  const int length = fields.integer("attention.temperature_length", kMaxContextLength);
  for (AttentionConfig& layer : config.attention) {
    layer.temperature = PositionTemperature{beta, length};
  }
}

// A head's size is not that of q and k, which json_finish reads.
void json_defaults(ModelConfig& config) {
  config.head_dim = 64;
  config.context_length = 131072;
  config.experts.scoring = ExpertScoring::sigmoid;
}

// How experts are chosen (transformers, modeling_deepseek_v2.py and _v3.py).
void read_choice(const JsonFields& fields, bool second, ExpertsConfig& experts) {
  if (second && !fields.has("scoring_func")) experts.scoring = ExpertScoring::softmax;
  if (!fields.has("norm_topk_prob")) experts.normalised = !second;
  if (second && experts.normalised) {
    fields.fail("norm_topk_prob", "is true; mlxd runs DeepSeek-V2 with false alone");
  }
  const std::string method = fields.string("topk_method").value_or(second ? "greedy" : "noaux_tc");
  if (method == "greedy") {
    experts.groups = experts.chosen_groups = 1;
  } else if (method == "group_limited_greedy") {
    experts.groups_by_best = true;
  } else if (method != "noaux_tc") {
    fields.fail("topk_method", fmt::format("is {}; mlxd knows greedy, group_limited_greedy and "
                                           "noaux_tc",
                                           in_quotes(method)));
  }
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  const std::string type = fields.string("model_type").value_or("");
  read_latent(fields, config);
  config.latent.norm_epsilon = type == "glm4_moe_lite" ? config.norm_epsilon : 1e-6f;
  if (config.experts.count > 0) read_choice(fields, type == "deepseek_v2", config.experts);
  auto rope = fields.object("rope_parameters");
  if (!rope) rope = fields.object("rope_scaling");
  const double weight = rope ? rope->number("mscale_all_dim", 0, 1e3).value_or(0) : 0;
  describe_latent_layers(config, yarn_score_factor(config.rope.scaling, weight));
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(latent_attention(builder, config, layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"deepseek_v2", "deepseek_v3",   "kimi_k2",
                                            "kimi_k25",    "glm4_moe_lite", "joyai_llm_flash"};
constexpr GgufName kGgufNames[] = {{"attn_q_a", "self_attn.q_a_proj"},
                                   {"attn_q_a_norm", "self_attn.q_a_layernorm"},
                                   {"attn_q_b", "self_attn.q_b_proj"},
                                   {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
                                   {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
                                   {"attn_k_b", "self_attn.embed_q"},
                                   {"attn_v_b", "self_attn.unembed_out"},
                                   {"attn_kv_b", "self_attn.kv_b_proj"}};

}  // namespace

Architecture deepseek2_architecture() {
  return {
      .name = "deepseek2",
      .model_types = kModelTypes,
      .gguf_name = "deepseek2",
      .gguf_names = kGgufNames,
      .experts = true,
      .latent = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
