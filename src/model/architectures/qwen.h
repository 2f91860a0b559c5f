#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"

// What Qwen2 (qwen2.cc) and Qwen3 read alike.
namespace mlxd {

void qwen_json_defaults(ModelConfig& config);
void qwen_json_finish(ModelConfig& config, const JsonFields& fields);

}  // namespace mlxd
