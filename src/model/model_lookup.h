#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd {

// Where huggingface_hub keeps what it knows ($HF_HOME, or "huggingface" in $XDG_CACHE_HOME or
// ~/.cache), and the models in it ($HF_HUB_CACHE, or "hub" there). Empty without any of these.
std::filesystem::path hub_home();
std::filesystem::path hub_cache();

// Finds the files behind a model id that the operator named (never a request): a path as it is,
// $MLXD_MODELS_DIR/<id>, or the Hugging Face cache (models--org--name/snapshots/<refs/main>). A
// folder with exactly one .gguf model (a file, or all parts of a split one) and no config.json
// stands for that model. Throws StartupError that lists the places that were searched.
std::filesystem::path find_model(std::string_view id);

// The models that lie in a folder: .gguf files, the first parts of split ones (and no projectors of
// images, "mmproj*"), and model folders, here or one folder deeper, as in owner/name. In the order
// of their names. Throws StartupError for a folder that cannot be read.
struct FoundModel {
  std::string name;  // the path within the folder, without .gguf and the number of a part
  std::filesystem::path path;
};
std::vector<FoundModel> models_in(const std::filesystem::path& folder);

}  // namespace mlxd
