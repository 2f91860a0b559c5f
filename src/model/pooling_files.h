#pragma once

#include <filesystem>
#include <optional>

#include "model/encoder_plan.h"
#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf.h"

namespace mlxd {

// What a model makes of a whole text, and how long that may be.
struct PoolingFiles {
  std::optional<PooledOutput> pooled;  // nothing: it makes nothing of one
  int longest_text = 0;                // tokens; 0: not said
};

// As sentence-transformers writes it beside a model: modules.json, the pooling's config.json, and
// sentence_bert_config.json. An encoder without these pools by the mean, as that library does; a
// cross-encoder by what `config`, its config.json, says. Throws LoadError for what mlxd does not
// compute, such as a dense layer after the pooling.
PoolingFiles read_pooling_files(const std::filesystem::path& folder, const JsonFields& config,
                                const ModelConfig& model);

// The same of GGUF metadata ("<architecture>.pooling_type").
PoolingFiles read_gguf_pooling(const GgufFile& file, const ModelConfig& model);

}  // namespace mlxd
