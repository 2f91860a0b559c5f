#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"

namespace mlxd {

// Reads rope_theta, rope_local_base_freq and rope_scaling, or the rope_parameters that newer
// versions of transformers write in their place. config's head_dim and context_length are set.
void read_json_rope(const JsonFields& fields, ModelConfig& config);

}  // namespace mlxd
