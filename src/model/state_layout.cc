#include "model/state_layout.h"

#include <variant>

#include "base/overloaded.h"

namespace mlxd {

std::vector<StateShape> state_shapes(const ModelPlan& plan) {
  std::vector<StateShape> shapes(static_cast<std::size_t>(plan.state_layers));
  const Overloaded add_shape = {
      [](const AttentionBlock&) {},
      [](const LatentAttentionBlock&) {},
      [](const FeedForwardBlock&) {},
      [](const ExpertsBlock&) {},
      [](const LayerInputBlock&) {},
      [&](const DeltaNetBlock& block) {
        shapes[block.layer] = {block.channels(), block.kernel, block.value_heads, block.key_dim,
                               block.value_dim};
      },
      [&](const ShortConvBlock& block) { shapes[block.layer] = {block.channels(), block.kernel}; },
      [&](const Mamba2Block& block) {
        shapes[block.layer] = {block.channels(), block.kernel, block.heads, block.state_size,
                               block.head_dim};
      },
  };
  for (const Block& block : plan.blocks) std::visit(add_shape, block);
  return shapes;
}

}  // namespace mlxd
