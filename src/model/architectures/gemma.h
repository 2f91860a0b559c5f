#pragma once

#include <memory>

#include "model/model_config.h"
#include "model/model_plan.h"
#include "model/weights/gguf_weights.h"

// What Gemma 2 and 3 have in common.
namespace mlxd {

// gemma3.cc
// query_pre_attn_scalar, which takes the place of the head's size.
void scale_queries(ModelConfig& config, float scalar);
// That of the hidden size; `rounded` as transformers and mlx-lm hold it, in the weights' bfloat16.
enum class EmbeddingScale { exact, rounded };
void scale_embeddings(ModelConfig& config, EmbeddingScale scale);
// Norms before and after both blocks, and on every head of q and k where the model has them.
ModelPlan plan_gemma(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
inline constexpr GgufName kGemmaGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                               {"attn_k_norm", "self_attn.k_norm"},
                                               {"post_attention_norm", "post_attention_layernorm"},
                                               {"ffn_norm", "pre_feedforward_layernorm"},
                                               {"post_ffw_norm", "post_feedforward_layernorm"}};
inline constexpr std::string_view kGemmaActivations[] = {"gelu_pytorch_tanh"};

}  // namespace mlxd
