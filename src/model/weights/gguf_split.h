#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights/gguf.h"

namespace mlxd {

// What the name of one part of a split model says: "<stem>-00002-of-00003.gguf" (llama.cpp,
// llama-gguf-split).
struct GgufPart {
  std::string stem;
  int number = 1;  // from 1
  int count = 1;

  std::string file_name() const;
};

// Nothing for the name of a model that is not split.
std::optional<GgufPart> gguf_part(std::string_view file_name);

// The model of which `path` is the only file, or any of its parts, in their order; the first holds
// the metadata. Throws LoadError when parts are missing (all are named), stand in each other's
// place, belong to different models by their counts, or do not hold as many tensors together as the
// first says.
std::vector<std::shared_ptr<const GgufFile>> open_gguf_parts(const std::filesystem::path& path);

}  // namespace mlxd
