#pragma once

#include <memory>

#include "model/model_plan.h"
#include "model/weights/gguf.h"

// The functions behind registry.cc's table, each in the file named after its architecture.
namespace mlxd {

void llama_gguf_defaults(ModelConfig& config, const GgufFile& file);
ModelPlan plan_llama(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

}  // namespace mlxd
