#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "model/architectures/architecture.h"

namespace mlxd {

// Every architecture. Adding one is a file in this folder that defines it, its line in
// architectures.def and a golden test (docs/adding-a-model.md).
std::span<const Architecture> architectures();

// The architecture that a file names. Throws LoadError that lists those supported; `file` begins
// it.
const Architecture& architecture_of_gguf(std::string_view gguf_name, std::string_view file);
const Architecture& architecture_of_model_type(std::string_view model_type, std::string_view file);

// The names of a layer's GGUF modules that are the architecture's own; none when it is unknown.
std::span<const GgufName> gguf_names_of(std::string_view gguf_name);

// The plan of a checked config.
ModelPlan make_plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

}  // namespace mlxd
