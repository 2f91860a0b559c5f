#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"

namespace mlxd {

// The rope of all layers, or of those that see everything: rope_theta with rope_scaling, or the
// newer rope_parameters. Heads may be turned in part only if `partial`.
void read_json_rope(const JsonFields& fields, bool partial, ModelConfig& config);

// The rope of layers that see a window, where a family gives them another: what
// rope_parameters.sliding_attention says, else turns without scaling, with this theta.
RopeConfig read_json_sliding_rope(const JsonFields& fields, const ModelConfig& config, float theta);

}  // namespace mlxd
