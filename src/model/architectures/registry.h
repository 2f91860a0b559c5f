#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/model_plan.h"
#include "model/weights/gguf.h"

namespace mlxd {

// One supported architecture: what files call it, what they leave unsaid, and its plan. Adding one
// is a file in this folder and a line in registry.cc.
struct Architecture {
  std::string_view name;                          // ModelConfig::architecture
  std::span<const std::string_view> model_types;  // every config.json model_type that means it
  std::string_view gguf_name;                     // GGUF general.architecture

  // Sets what is this architecture's own, once the generic metadata is read. May throw LoadError.
  void (*gguf_finish)(ModelConfig& config, const GgufFile& file);
  // The values of fields that config.json may leave out; called on an empty config.
  void (*json_defaults)(ModelConfig& config);
  // As gguf_finish. `fields` is the text model's part of config.json.
  void (*json_finish)(ModelConfig& config, const JsonFields& fields);

  // Throws LoadError that names a tensor which is missing or whose shape the config denies.
  ModelPlan (*plan)(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
};

std::span<const Architecture> architectures();

// The architecture that a file names. Throws LoadError that lists those supported; `file` begins
// it.
const Architecture& architecture_of_gguf(std::string_view gguf_name, std::string_view file);
const Architecture& architecture_of_model_type(std::string_view model_type, std::string_view file);

// The plan of a checked config.
ModelPlan make_plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

}  // namespace mlxd
