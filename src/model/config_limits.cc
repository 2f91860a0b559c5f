#include "model/config_limits.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxd {
namespace {

void check_rope(const RopeConfig& rope, int head_dim, std::string_view file) {
  if (rope.dimensions < 2 || rope.dimensions % 2 != 0 || rope.dimensions > head_dim) {
    throw LoadError(fmt::format("{}: rotary embeddings turn {} of {} dimensions of a head", file,
                                rope.dimensions, head_dim));
  }
  if (!rope.divisors.empty() &&
      rope.divisors.size() != static_cast<std::size_t>(rope.dimensions / 2)) {
    throw LoadError(fmt::format("{}: there are {} rope frequency factors for {} pairs", file,
                                rope.divisors.size(), rope.dimensions / 2));
  }
}

}  // namespace

void check_config(const ModelConfig& config, std::string_view file) {
  if (config.heads % config.kv_heads != 0) {
    throw LoadError(fmt::format("{}: {} attention heads cannot share {} KV heads evenly", file,
                                config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) {
    throw LoadError(fmt::format("{}: the head dimension is {}, and rotary embeddings turn pairs",
                                file, config.head_dim));
  }
  for (const AttentionConfig& attention : config.attention) {
    if (attention.rope) check_rope(*attention.rope, config.head_dim, file);
  }
}

}  // namespace mlxd
