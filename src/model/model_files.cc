#include "model/model_files.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/architectures/registry.h"
#include "model/config_reader.h"
#include "model/fingerprint.h"
#include "model/pooling_files.h"
#include "model/vocabulary_reader.h"
#include "model/weights/gguf_split.h"
#include "model/weights/gguf_weights.h"
#include "model/weights/safetensors_weights.h"

namespace mlxd {
namespace {

void set_pooling(ModelPlan& plan, const PoolingFiles& files) {
  plan.pooled = files.pooled;
  int& context = plan.config.context_length;
  if (files.longest_text > 0) context = std::min(context, files.longest_text);
}

ModelFiles open_gguf(const std::filesystem::path& path) {
  auto parts = open_gguf_parts(path);
  const auto first = parts.front();  // holds the metadata
  Fingerprint fingerprint;
  for (const auto& part : parts) fingerprint.add(part->header());
  const auto weights = gguf_weights(std::move(parts));
  const ModelConfig config = read_gguf_config(*first, *weights);
  ModelPlan plan = make_plan(config, weights);
  set_pooling(plan, read_gguf_pooling(*first, config));
  return {path, "gguf", fingerprint.hex(), std::move(plan), read_gguf_vocabulary(*first)};
}

ModelFiles open_folder(const std::filesystem::path& folder) {
  const auto config_path = folder / "config.json";
  if (!std::filesystem::exists(config_path)) {
    throw LoadError(
        fmt::format("{}: is no model: a folder needs config.json and safetensors "
                    "files; name a .gguf file by its own path",
                    folder.string()));
  }
  const JsonFields config = JsonFields::open(config_path);
  // Refuse what mlxd does not run before its weights are looked at.
  architecture_of_model_type(config.string("model_type").value_or(""), config.file());
  auto files = open_safetensors_folder(folder);
  Fingerprint fingerprint;
  fingerprint.add(MappedFile::open(config_path)->bytes());
  for (const auto& file : files) fingerprint.add(file->header());
  const auto weights = safetensors_weights(std::move(files), config, folder);
  ModelPlan plan = make_plan(read_json_config(config, *weights), weights);
  set_pooling(plan, read_pooling_files(folder, config, plan.config));
  const int vocab_size = plan.config.vocab_size;
  return {folder, "safetensors", fingerprint.hex(), std::move(plan),
          read_folder_vocabulary(folder, config, vocab_size)};
}

}  // namespace

ModelFiles open_model(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_folder(path);
  return open_gguf(path);
}

}  // namespace mlxd
