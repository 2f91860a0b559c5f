#pragma once

#include <cstdint>

#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf.h"

// What families share whose layers, all or some of them, see a sliding window.
namespace mlxd {

// All layers see the config's window.
inline void window_every_layer(ModelConfig& config) {
  for (AttentionConfig& layer : config.attention) layer.window = config.sliding_window;
}

// Every `pattern`-th layer sees all, the others the window.
void window_by_pattern(ModelConfig& config, std::int64_t pattern);

// <architecture>.attention.sliding_window_pattern: a flag for each layer, or a pattern as above.
void window_by_gguf(ModelConfig& config, const GgufFile& file, std::int64_t usual_pattern);

// Gives the layers that see a window this rope.
void turn_windowed_layers_by(ModelConfig& config, const RopeConfig& rope);

// Their rope in GGUF files: unscaled, with <architecture>.rope.freq_base_swa or this theta.
RopeConfig gguf_sliding_rope(const ModelConfig& config, const GgufFile& file, float theta);

}  // namespace mlxd
