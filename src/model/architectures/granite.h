#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf.h"

// The factors that all Granites have, under the names of each kind of file (granite.cc).
namespace mlxd {

void granite_gguf_defaults(ModelConfig& config);
void granite_gguf_finish(ModelConfig& config, const GgufFile& file);
void granite_json_defaults(ModelConfig& config);
void granite_json_finish(ModelConfig& config, const JsonFields& fields);

}  // namespace mlxd
