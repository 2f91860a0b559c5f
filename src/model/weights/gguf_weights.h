#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/weight_source.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The Hugging Face name of a GGUF tensor: "blk.3.attn_q.weight" -> "model.layers.3.self_attn.
// q_proj.weight". A name with no counterpart ("rope_freqs.weight") stays as it is. In models with
// `sandwich_norms` (Gemma) ffn_norm is the feed-forward block's own norm, in others the one that
// Hugging Face calls post_attention_layernorm.
std::string hugging_face_name(std::string_view gguf_name, bool sandwich_norms);

// The tensors of a GGUF model's files (one, or all parts of a split one) under Hugging Face names;
// keeps the files mapped. Throws LoadError when two tensors claim one name.
std::shared_ptr<const WeightSource> gguf_weights(
    std::vector<std::shared_ptr<const GgufFile>> parts);

}  // namespace mlxd
