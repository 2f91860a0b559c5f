// SmolLM3 (Hugging Face 2025): Llama whose every fourth layer does not turn q and k ("RNoPE", Yang
// et al. 2025, "Rope to Nope and Back Again").
#include <cstdint>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/config_limits.h"

namespace mlxd {
namespace {

constexpr std::int64_t kUsualInterval = 4;  // the only one that llama.cpp knows

void stop_turning_every(ModelConfig& config, std::int64_t interval) {
  for (int layer = 0; layer < config.layers; ++layer) {
    if ((layer + 1) % interval == 0) config.attention[layer].rope.reset();
  }
}

void gguf_defaults(ModelConfig& config) {
  config.rope.theta = 2000000;
  config.rope.interleaved = true;  // converted as Llama
}

void gguf_finish(ModelConfig& config, const GgufFile&) {
  stop_turning_every(config, kUsualInterval);
}

// transformers, SmolLM3Config.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 32768;
  config.rope.theta = 2000000;
}

// no_rope_layers says of each layer whether it turns: 1, or 0 against its name.
void read_no_rope_layers(const JsonFields& fields, const boost::json::array& turns,
                         ModelConfig& config) {
  if (turns.size() < config.attention.size()) {
    fields.fail("no_rope_layers", "has fewer entries than there are layers");
  }
  for (std::size_t layer = 0; layer < config.attention.size(); ++layer) {
    const std::int64_t* turn = turns[layer].if_int64();
    if (turn == nullptr) fields.fail_type("no_rope_layers", turns[layer], "0 or 1");
    if (*turn == 0) config.attention[layer].rope.reset();
  }
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (const boost::json::array* turns = fields.array("no_rope_layers")) {
    read_no_rope_layers(fields, *turns, config);
  } else {
    stop_turning_every(
        config, fields.integer("no_rope_layer_interval", 1, kMaxLayers).value_or(kUsualInterval));
  }
  const bool windows = fields.boolean("use_sliding_window").value_or(false);
  if (fields.has("layer_types")) return;
  for (AttentionConfig& layer : config.attention) {
    layer.window = windows && !layer.rope ? config.sliding_window : 0;
  }
}

constexpr std::string_view kModelTypes[] = {"smollm3"};

}  // namespace

Architecture smollm3_architecture() {
  return {
      .name = "smollm3",
      .model_types = kModelTypes,
      .gguf_name = "smollm3",
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
