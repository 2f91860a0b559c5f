#pragma once

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf_weights.h"

// What the generations of Qwen have in common.
namespace mlxd {

// qwen2.cc
void qwen_json_defaults(ModelConfig& config);
void qwen_json_finish(ModelConfig& config, const JsonFields& fields);

// qwen3.cc: with a norm on every head of q and k before the rotation.
AttentionBlock qwen3_attention(const PlanBuilder& builder, const ModelConfig& config, int layer,
                               PlanBuilder::Gate gate = PlanBuilder::Gate::none);
// That, with feed-forward blocks or experts.
ModelPlan plan_qwen3_like(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
inline constexpr GgufName kQwen3GgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                               {"attn_k_norm", "self_attn.k_norm"}};

// qwen3_5.cc
Architecture qwen3_5_like(std::string_view name, std::span<const std::string_view> model_types,
                          std::string_view gguf_name);

}  // namespace mlxd
