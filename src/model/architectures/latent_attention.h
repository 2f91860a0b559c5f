#pragma once

#include "model/architectures/plan_builder.h"
#include "model/gguf_fields.h"
#include "model/json_fields.h"

namespace mlxd {

// Multi-head latent attention, as the families have it that took it over from DeepSeek-V2.

// The sizes of LatentConfig. Both throw LoadError that names the field.
void read_latent(const JsonFields& fields, ModelConfig& config);
void read_latent(const GgufFields& fields, const GgufFile& file, ModelConfig& config);

// Describes all layers by config.latent: they turn the last part of a head, as neighbours; scores
// are divided by the root of a head's size and multiplied by `factor`.
void describe_latent_layers(ModelConfig& config, double factor);

// What YaRN makes of scores, its magnitude squared (`weight`: mscale_all_dim; 0: nothing).
double yarn_score_factor(const RopeScaling& scaling, double weight);

// self_attn.{q_proj or q_a_proj,q_a_layernorm,q_b_proj; kv_a_proj_with_mqa,kv_a_layernorm; o_proj}
// and the heads' matrices: embed_q and unembed_out, or kv_b_proj, which has a head's rows of both,
// those of embed_q transposed.
LatentAttentionBlock latent_attention(PlanBuilder& builder, const ModelConfig& config, int layer);

}  // namespace mlxd
