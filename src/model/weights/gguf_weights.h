#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/weight_source.h"
#include "model/weights/gguf.h"

namespace mlxd {

// A module of a layer: what GGUF files call "blk.<n>.<gguf>" is "model.layers.<n>.<hugging_face>".
struct GgufName {
  std::string_view gguf, hugging_face;
};

// The Hugging Face name of a GGUF tensor: "blk.3.attn_q.weight" -> "model.layers.3.self_attn.
// q_proj.weight". `own` are an architecture's names, which go before those that most have. A name
// with no counterpart ("rope_freqs.weight") stays as it is.
std::string hugging_face_name(std::string_view gguf_name, std::span<const GgufName> own);

// The tensors of a GGUF model's files (one, or all parts of a split one) under the Hugging Face
// names of its architecture; keeps the files mapped. Throws LoadError when two tensors claim one
// name.
std::shared_ptr<const WeightSource> gguf_weights(
    std::vector<std::shared_ptr<const GgufFile>> parts);

}  // namespace mlxd
