#pragma once

#include "model/architectures/architecture.h"
#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The numbers of an encoder, as config_reader.h reads those of others. Throw LoadError that names
// the file, the field and its value.
ModelConfig read_json_encoder_config(const JsonFields& fields, const Architecture& architecture);
ModelConfig read_gguf_encoder_config(const GgufFile& file, const Architecture& architecture);

}  // namespace mlxd
