#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/model_plan.h"
#include "model/vocabulary.h"

namespace mlxd {

// A model opened and checked, ready for a backend: the plan, and what text/ needs.
struct ModelFiles {
  std::filesystem::path path;  // the .gguf file (any part of a split one) or the folder
  std::string format;          // "gguf" or "safetensors"
  std::string fingerprint;     // 12 hex digits over the header bytes, for system_fingerprint
  ModelPlan plan;
  Vocabulary vocabulary;
};

// Opens a .gguf file or a folder with config.json and safetensors. Throws LoadError that names the
// file, the field and its value; an unsupported architecture or format is refused with the list of
// those supported.
ModelFiles open_model(const std::filesystem::path& path);

}  // namespace mlxd
