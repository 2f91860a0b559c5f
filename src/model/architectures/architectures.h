#pragma once

#include <memory>

#include "model/json_fields.h"
#include "model/model_plan.h"
#include "model/weights/gguf.h"

// The functions behind registry.cc's table, each in the file named after its architecture. See
// Architecture in registry.h for what they do and when they are called.
namespace mlxd {

void llama_gguf_finish(ModelConfig& config, const GgufFile& file);
void llama_json_defaults(ModelConfig& config);
void llama_json_finish(ModelConfig& config, const JsonFields& fields);
ModelPlan plan_llama(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

void qwen_gguf_finish(ModelConfig& config, const GgufFile& file);  // qwen2 and qwen3
void qwen_json_defaults(ModelConfig& config);
void qwen_json_finish(ModelConfig& config, const JsonFields& fields);
ModelPlan plan_qwen2(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);
ModelPlan plan_qwen3(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

void gemma3_gguf_finish(ModelConfig& config, const GgufFile& file);
void gemma3_json_defaults(ModelConfig& config);
void gemma3_json_finish(ModelConfig& config, const JsonFields& fields);
ModelPlan plan_gemma3(const ModelConfig& config, std::shared_ptr<const WeightSource> weights);

}  // namespace mlxd
