#include "model/model_files.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/architectures/registry.h"
#include "model/config_reader.h"
#include "model/fingerprint.h"
#include "model/vocabulary_reader.h"
#include "model/weights/gguf_weights.h"

namespace mlxd {
namespace {

ModelFiles open_gguf(const std::filesystem::path& path) {
  const auto file = GgufFile::open(path);
  const auto weights = gguf_weights(file);
  Fingerprint fingerprint;
  fingerprint.add(file->header());
  return {path, "gguf", fingerprint.hex(),
          make_plan(read_gguf_config(*file, *weights), weights), read_gguf_vocabulary(*file)};
}

}  // namespace

ModelFiles open_model(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    throw LoadError(fmt::format("{}: folders cannot be opened yet", path.string()));
  }
  return open_gguf(path);
}

}  // namespace mlxd
