#pragma once

#include <filesystem>

#include "model/model_config.h"
#include "model/weight_source.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The numbers of a model from GGUF metadata. `weights` settles what files leave unsaid (whether the
// head is the embedding table). Throws LoadError that names the key and its value.
ModelConfig read_gguf_config(const GgufFile& file, const WeightSource& weights);

}  // namespace mlxd
