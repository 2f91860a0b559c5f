// DeepSeek-V2 and V3 (DeepSeek-AI 2024), and who took over their shape: Kimi K2 and GLM-4.7-Flash.
// Latent attention, and behind the first dense layers experts in groups beside shared ones.
#include <algorithm>

#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/latent_attention.h"
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
  if (!file.has(fields.key("expert_gating_func")) && has_choice_bias(file)) {
    config.experts.scoring = ExpertScoring::sigmoid;
  }
  config.experts.groups_by_best = config.experts.scoring == ExpertScoring::softmax;
  finish_latent(config, fields, file);
}

// A head's size is there for what reads all families' alike; finish_latent knows better.
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
  if (config.experts.count > 0) read_choice(fields, type == "deepseek_v2", config.experts);
  finish_latent(config, fields, type == "glm4_moe_lite" ? config.norm_epsilon : 1e-6f);
}

constexpr std::string_view kModelTypes[] = {"deepseek_v2", "deepseek_v3",   "kimi_k2",
                                            "kimi_k25",    "glm4_moe_lite", "joyai_llm_flash"};

}  // namespace

Architecture deepseek2_architecture() {
  return {
      .name = "deepseek2",
      .model_types = kModelTypes,
      .gguf_name = "deepseek2",
      .gguf_names = kLatentGgufNames,
      .experts = true,
      .latent = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_latent,
  };
}

}  // namespace mlxd
