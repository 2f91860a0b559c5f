// Granite 3 and 4.1, dense (IBM Granite Team 2024): Llama with factors on the embedded tokens, on
// what each block adds, on the scores (in place of the head's size) and on the logits (maximal
// update parametrisation, Yang et al. 2022).
#include "model/architectures/granite.h"

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/gguf_fields.h"

namespace mlxd {
namespace {

constexpr double kLeast = 1e-6, kMost = 1e6;  // of a factor

void scale_scores(ModelConfig& config, double factor) {
  for (AttentionConfig& layer : config.attention) layer.scale = static_cast<float>(factor);
}

constexpr std::string_view kModelTypes[] = {"granite"};

}  // namespace

void granite_gguf_defaults(ModelConfig& config) {
  config.rope.interleaved = true;  // converted as Llama
}

void granite_gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  const auto factor = [&fields](const char* field) {
    return fields.number(field, kLeast, kMost, 1);
  };
  config.embedding_scale = factor("embedding_scale");
  config.residual_scale = factor("residual_scale");
  config.logit_scale = 1 / factor("logit_scale");
  if (const auto scale = file.number(fields.key("attention.scale"), kLeast, kMost)) {
    scale_scores(config, *scale);
  }
  // llama.cpp's switch for the rotation of this architecture.
  if (!file.boolean(fields.key("rope.scaling.finetuned")).value_or(true)) {
    for (AttentionConfig& layer : config.attention) layer.rope.reset();
  }
}

// transformers, GraniteConfig, where each factor is 1 unless it is stated.
void granite_json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 2048;
}

void granite_json_finish(ModelConfig& config, const JsonFields& fields) {
  const auto factor = [&fields](const char* field) {
    return static_cast<float>(fields.number(field, kLeast, kMost).value_or(1));
  };
  config.embedding_scale = factor("embedding_multiplier");
  config.residual_scale = factor("residual_multiplier");
  config.logit_scale = 1 / factor("logits_scaling");
  scale_scores(config, factor("attention_multiplier"));
}

Architecture granite_architecture() {
  return {
      .name = "granite",
      .model_types = kModelTypes,
      .gguf_name = "granite",
      .gguf_defaults = granite_gguf_defaults,
      .json_defaults = granite_json_defaults,
      .gguf_finish = granite_gguf_finish,
      .json_finish = granite_json_finish,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
