#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "model/json_fields.h"
#include "model/weight_source.h"
#include "model/weights/safetensors.h"

namespace mlxd {

// The safetensors files of a folder: model.safetensors, else the shards that
// model.safetensors.index.json names (plain file names in the folder), else all of
// model-00001-of-0000N.safetensors. Throws LoadError when there are none, a shard's name is no file
// name, shards are missing (all are named), or the index and the shards disagree; an lm_head that
// the index alone knows is left for the plan to miss.
std::vector<std::shared_ptr<const SafetensorsFile>> open_safetensors_folder(
    const std::filesystem::path& folder);

// The tensors of those files under Hugging Face names (a multimodal model's "language_model."
// prefix taken off), kept mapped. MLX's triples weight, scales, biases become one tensor each, in
// the form that `config`'s "quantization" states. Throws LoadError when a name comes twice or a
// triple does not fit together. find() throws for a tensor whose type mlxd cannot compute with.
std::shared_ptr<const WeightSource> safetensors_weights(
    std::vector<std::shared_ptr<const SafetensorsFile>> files, const JsonFields& config,
    const std::filesystem::path& folder);

}  // namespace mlxd
