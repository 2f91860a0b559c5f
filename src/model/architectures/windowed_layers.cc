#include "model/architectures/windowed_layers.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

std::string key_of(const GgufFile& file, std::string_view field) {
  return fmt::format("{}.{}", file.string("general.architecture").value_or(""), field);
}

void window(ModelConfig& config, const std::vector<bool>& windowed) {
  for (std::size_t layer = 0; layer < windowed.size(); ++layer) {
    config.attention[layer].window = windowed[layer] ? config.sliding_window : 0;
  }
}

}  // namespace

void window_by_pattern(ModelConfig& config, std::int64_t pattern) {
  std::vector<bool> windowed;
  for (int layer = 0; layer < config.layers; ++layer) {
    windowed.push_back((layer + 1) % pattern != 0);
  }
  window(config, windowed);
}

void window_by_gguf(ModelConfig& config, const GgufFile& file, std::int64_t usual_pattern) {
  const std::string key = key_of(file, "attention.sliding_window_pattern");
  if (!file.is_array(key)) {
    window_by_pattern(config, file.integer(key, 1, kMaxLayers).value_or(usual_pattern));
    return;
  }
  const std::vector<bool> windowed = *file.booleans(key);
  if (windowed.size() != config.attention.size()) {
    file.fail(in_quotes(key),
              fmt::format("has {} entries for {} layers", windowed.size(), config.layers));
  }
  window(config, windowed);
}

void turn_windowed_layers_by(ModelConfig& config, const RopeConfig& rope) {
  for (AttentionConfig& layer : config.attention) {
    if (layer.window > 0) layer.rope = rope;
  }
}

RopeConfig gguf_sliding_rope(const ModelConfig& config, const GgufFile& file, float theta) {
  const auto stated = file.number(key_of(file, "rope.freq_base_swa"), 1, 1e12);
  return {.theta = static_cast<float>(stated.value_or(theta)),
          .dimensions = config.head_dim,
          .interleaved = config.rope.interleaved};
}

}  // namespace mlxd
