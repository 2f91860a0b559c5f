#pragma once

#include <memory>

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/model_plan.h"
#include "model/weights/gguf_weights.h"

// What Gemma 2 and 3 have in common.
namespace mlxd {

// gemma3.cc
// Of embeddings and queries. GGUF files do not have query_pre_attn_scalar: it is the head dimension
// but for the 27B model, which llama.cpp, too, knows by its number of layers.
void scale_as_gguf(ModelConfig& config, int layers_of_27b);
// transformers and mlx-lm hold the embeddings' scale in the weights' bfloat16: 25.25 for a hidden
// size of 640.
void scale_as_json(ModelConfig& config, const JsonFields& fields);
// Norms before and after both blocks, and on every head of q and k where the model has them.
ModelPlan plan_gemma(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
inline constexpr GgufName kGemmaGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                               {"attn_k_norm", "self_attn.k_norm"},
                                               {"post_attention_norm", "post_attention_layernorm"},
                                               {"ffn_norm", "pre_feedforward_layernorm"},
                                               {"post_ffw_norm", "post_feedforward_layernorm"}};
inline constexpr std::string_view kGemmaActivations[] = {"gelu_pytorch_tanh"};

}  // namespace mlxd
