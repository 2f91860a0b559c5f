#include "model/config_limits.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxd {

void check_config(const ModelConfig& config, std::string_view file) {
  if (config.heads % config.kv_heads != 0) {
    throw LoadError(fmt::format("{}: {} attention heads cannot share {} KV heads evenly", file,
                                config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) {
    throw LoadError(fmt::format("{}: the head dimension is {}, and rotary embeddings turn pairs",
                                file, config.head_dim));
  }
  if (!config.windowed_layers.empty() &&
      config.windowed_layers.size() != static_cast<std::size_t>(config.layers)) {
    throw LoadError(fmt::format("{}: the attention types of {} layers are given for {} layers",
                                file, config.windowed_layers.size(), config.layers));
  }
  if (!config.rope_frequency_factors.empty() &&
      config.rope_frequency_factors.size() != static_cast<std::size_t>(config.head_dim / 2)) {
    throw LoadError(fmt::format("{}: there are {} rope frequency factors for {} pairs", file,
                                config.rope_frequency_factors.size(), config.head_dim / 2));
  }
}

}  // namespace mlxd
