#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/hub_id.h"

namespace mlxd::hub {

// A file of a repository, as the hub lists it.
struct RepositoryFile {
  std::string path;        // in the repository; is_safe_path
  std::int64_t size = 0;   // bytes
  std::string hash;        // lower-case hex: SHA-256 of its bytes, or git's SHA-1 of them as a blob
  bool is_sha256 = false;  // else it is git's
};

// The .gguf files of one model: one, or all parts of a split one in their order.
struct GgufModel {
  std::string name;   // the path of the file, or the path before "-00001-of-00003.gguf"
  std::string quant;  // "Q4_K_M", "UD-Q4_K_XL"; the name where it has none
  std::vector<std::string> files;  // paths
  bool complete = true;            // no part is missing
};

// The models among these paths, in the order of their names. Files that only go with a model
// (projectors for images, importance matrices) are none.
std::vector<GgufModel> gguf_models(std::span<const std::string> paths);

// The model that QUANT means, as llama-server's -hf takes it: the first whose path has it as a word
// of its own, whatever its case. Without one Q4_K_M, then what is nearest to it. Null where there
// is none.
const GgufModel* choose_gguf(std::span<const GgufModel> models, std::string_view quant);

// Whether these files are a folder that mlxd can read: config.json and safetensors.
bool is_model_folder(std::span<const std::string> paths);

// Of such a folder, what mlxd reads: configuration, weights, tokeniser, templates, pooling. What
// comes first tells what the others must be.
std::vector<std::string> folder_files(std::span<const std::string> paths);

struct Choice {
  bool is_gguf = false;
  std::string quant;               // of a GGUF model
  std::vector<std::string> files;  // paths
};

// The files that an id means. Throws StartupError that lists what there is.
Choice choose_files(const HubId& id, std::span<const std::string> paths);

}  // namespace mlxd::hub
