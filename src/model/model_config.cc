#include "model/model_config.h"

namespace mlxd {

void describe_layers(ModelConfig& config) {
  AttentionConfig attention;
  attention.kv_heads = config.kv_heads;
  attention.head_dim = config.head_dim;
  attention.rope = config.rope;
  attention.scale = 1 / std::sqrt(static_cast<float>(config.head_dim));
  attention.softcap = config.attention_softcap;
  config.attention.assign(static_cast<std::size_t>(config.layers), attention);
}

}  // namespace mlxd
