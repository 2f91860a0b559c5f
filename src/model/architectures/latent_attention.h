#pragma once

#include <memory>

#include "model/architectures/plan_builder.h"
#include "model/gguf_fields.h"
#include "model/json_fields.h"
#include "model/weights/gguf_weights.h"

namespace mlxd {

// Multi-head latent attention, as the families have it that took it over from DeepSeek-V2.

// Reads LatentConfig and describes all layers by it: they turn the last part of a head, as
// neighbours; scores are divided by the root of a head's size, and multiplied by the square of
// YaRN's magnitude. The norms within have an epsilon of their own in folders (`epsilon`), and the
// model's in GGUF files. Both throw LoadError that names the field.
void finish_latent(ModelConfig& config, const JsonFields& fields, float epsilon);
void finish_latent(ModelConfig& config, const GgufFields& fields, const GgufFile& file);

// self_attn.{q_proj or q_a_proj,q_a_layernorm,q_b_proj; kv_a_proj_with_mqa,kv_a_layernorm; o_proj}
// and the heads' matrices: embed_q and unembed_out, or kv_b_proj, which has a head's rows of both,
// those of embed_q transposed.
LatentAttentionBlock latent_attention(PlanBuilder& builder, const ModelConfig& config, int layer);

// With feed-forward blocks or experts.
ModelPlan plan_latent(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

inline constexpr GgufName kLatentGgufNames[] = {
    {"attn_q_a", "self_attn.q_a_proj"},
    {"attn_q_a_norm", "self_attn.q_a_layernorm"},
    {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
    {"attn_k_b", "self_attn.embed_q"},
    {"attn_v_b", "self_attn.unembed_out"},
    {"attn_kv_b", "self_attn.kv_b_proj"},
    {"ffn_gate_up_exps", "mlp.switch_mlp.gate_up_proj"}};

}  // namespace mlxd
