#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"

namespace mlxd {

// The experts of the layers that have some, under the names of the families that transformers has.
// What a file leaves out stays as `config` has it; experts without a size of their own have that of
// a dense layer.
void read_json_experts(const JsonFields& fields, ModelConfig& config);

}  // namespace mlxd
