// Ministral 3 (Mistral AI 2025), and the text model of Mistral Small 3: Llama with YaRN and, in
// Ministral 3, queries that grow with the logarithm of their position. Folders wrap it as the text
// model of a multimodal one.
#include <cmath>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void grow_queries(ModelConfig& config, double beta) {
  const int length = config.rope.scaling.original_context_length;
  if (beta == 0 || length == 0) return;
  for (AttentionConfig& layer : config.attention) {
    layer.temperature = PositionTemperature{static_cast<float>(beta), length};
  }
}

void gguf_defaults(ModelConfig& config) {
  config.rope.interleaved = true;  // converted as Llama
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  grow_queries(config, file.number("mistral3.attention.temperature_scale", 0, 1e3).value_or(0));
  // mscale_all_dim, which divides YaRN's own magnitude (llama.cpp, llama_context).
  const RopeScaling& scaling = config.rope.scaling;
  const auto weight = file.number("mistral3.rope.scaling.yarn_log_multiplier", 0, 1e3).value_or(0);
  if (scaling.kind != RopeScaling::Kind::yarn || scaling.factor <= 1 || weight == 0) return;
  const double stretch = 0.1 * std::log(scaling.factor);
  const double own = scaling.attention_factor > 0 ? scaling.attention_factor : stretch + 1;
  for (AttentionConfig& layer : config.attention) {
    layer.rope->scaling.attention_factor = static_cast<float>(own / (weight * stretch + 1));
  }
}

void json_defaults(ModelConfig& config) { config.context_length = 131072; }

void json_finish(ModelConfig& config, const JsonFields& fields) {
  const std::string type = fields.string("model_type").value_or("mistral");
  if (type != "mistral" && type != "ministral3") {
    fields.fail("model_type", "is " + in_quotes(type) + "; mlxd runs mistral and ministral3 here");
  }
  if (!fields.has("layer_types")) window_every_layer(config);
  const auto rope = fields.object("rope_parameters");
  if (rope) grow_queries(config, rope->number("llama_4_scaling_beta", 0, 1e3).value_or(0));
}

constexpr std::string_view kModelTypes[] = {"mistral3", "ministral3"};

}  // namespace

Architecture mistral3_architecture() {
  return {
      .name = "mistral3",
      .model_types = kModelTypes,
      .gguf_name = "mistral3",
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
