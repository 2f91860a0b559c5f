#include "model/kv_layout.h"

#include <algorithm>
#include <variant>

#include "base/error.h"
#include "base/overloaded.h"

namespace mlxd {
namespace {

constexpr int kNoBlock = -1;

// By KV layer.
std::vector<int> windows_of(const ModelPlan& plan) {
  std::vector<int> windows(static_cast<std::size_t>(std::max(plan.kv_layers, 0)), kNoBlock);
  const auto check_layer = [&](int layer, const Linear& linear) {
    if (layer < 0 || layer >= plan.kv_layers) {
      throw LoadError(linear.weight.name + ": its KV layer is out of range");
    }
  };
  const Overloaded note_window = {
      [&](const AttentionBlock& block) {
        check_layer(block.layer, block.query);
        if (block.shares_cache) {
          if (windows[block.layer] == kNoBlock) {
            throw LoadError(block.query.weight.name +
                            ": no block before it has the cache it reads");
          }
          return;
        }
        const bool sees_all = block.window >= plan.config.context_length;
        windows[block.layer] = sees_all ? 0 : block.window;
      },
      [&](const LatentAttentionBlock& block) {
        check_layer(block.layer, block.query);
        windows[block.layer] = 0;
      },
      [](const FeedForwardBlock&) {},
      [](const ExpertsBlock&) {},
      [](const DeltaNetBlock&) {},
      [](const ShortConvBlock&) {},
      [](const Mamba2Block&) {},
      [](const LayerInputBlock&) {},
  };
  for (const Block& block : plan.blocks) std::visit(note_window, block);
  if (std::ranges::count(windows, kNoBlock) > 0) {
    throw LoadError("a KV layer of the model has no attention block");
  }
  return windows;
}

}  // namespace

KvLayout kv_layout(const ModelPlan& plan, int most) {
  KvLayout layout;
  const std::vector<int> windows = windows_of(plan);
  layout.windows = windows;
  std::ranges::sort(layout.windows);
  layout.windows.erase(std::ranges::unique(layout.windows).begin(), layout.windows.end());
  while (static_cast<int>(layout.windows.size()) > most) {
    layout.windows.erase(layout.windows.end() - 2);
  }
  for (const int window : windows) {
    const auto group = std::ranges::lower_bound(layout.windows, window);
    layout.group_of.push_back(static_cast<int>(group - layout.windows.begin()));
  }
  return layout;
}

}  // namespace mlxd
