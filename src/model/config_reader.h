#pragma once

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weight_source.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The numbers of a model from GGUF metadata, or from config.json. They read what all families name
// alike and leave the rest to the family's file in architectures/. `weights` settles what files
// leave unsaid (whether the head is the embedding table). Both throw LoadError that names the file,
// the field and its value.
ModelConfig read_gguf_config(const GgufFile& file, const WeightSource& weights);
ModelConfig read_json_config(const JsonFields& config, const WeightSource& weights);

}  // namespace mlxd
