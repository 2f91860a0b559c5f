#include "backend/cpu/step_memory.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/expert_layers.h"
#include "backend/cpu/feed_forward_layers.h"
#include "backend/cpu/head_states.h"
#include "backend/cpu/kernel_input.h"
#include "backend/cpu/latent_attention_layers.h"
#include "backend/cpu/layer_input_layers.h"
#include "backend/cpu/packed_matrix.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/short_conv_layers.h"
#include "base/overloaded.h"

namespace mlxd::cpu {
namespace {

// Of a worker beside what depends on the model.
std::size_t worker_bytes(bool unit) {
  constexpr std::size_t kOther = std::size_t{32} << 10;
  return FeedForwardLayers::worker_bytes(unit) + (unit ? sizeof(PromptScratch) : 0) + kOther;
}

// The widest values of a row.
struct Widths {
  int query = 0, kv = 0, hidden = 0;
  int experts = 0, chosen = 0, expert_hidden = 0;
  bool shared = false, router_norm = false, shared_norm = false;
  HeadStates::Widths delta_net, mamba2;
  int short_channels = 0;
  int gate = 0;
};

// The inputs of products as one worker's kernels read them: one buffer for each kind of matrix.
std::size_t prepared_bytes(const ModelPlan& plan, int rows) {
  std::array<std::size_t, kInputKinds> groups{};
  for (const Tensor* matrix : matrices_of(plan)) {
    const TileLayout layout = choose_layout(*matrix);
    if (layout.codes == Codes::none) continue;
    std::size_t& most = groups[input_kind_of(layout)];
    most = std::max(most, static_cast<std::size_t>(layout.groups));
  }
  return std::accumulate(groups.begin(), groups.end(), std::size_t{0}) * rows * sizeof(InputGroup);
}

}  // namespace

std::size_t step_memory(const ModelPlan& plan, const StepLimits& limits, int workers, bool unit) {
  Widths widths;
  LatentAttentionLayers::Widths latent;
  std::vector<AttentionShape> shapes;
  std::vector<AttentionShape> narrow_shapes;  // of the rows that go on after the last own cache
  std::set<std::pair<std::vector<float>, float>> ropes;
  const auto add_shape = [&](const AttentionShape& shape) {
    for (auto* list : {&shapes, &narrow_shapes}) {
      if (std::ranges::count(*list, shape) == 0) list->push_back(shape);
    }
  };
  const Overloaded measure = {
      [&](const AttentionBlock& block) {
        widths.query = std::max(widths.query, block.heads * block.head_dim);
        widths.kv = std::max(widths.kv, block.kv_heads * block.head_dim);
        if (!block.shares_cache) narrow_shapes.clear();
        widths.gate = std::max(widths.gate, block.gated ? block.heads * block.head_dim : 0);
        add_shape({block.heads, block.kv_heads, block.head_dim, block.softcap, block.window});
        if (block.rope) ropes.insert({block.rope->inverse_frequencies, block.rope->magnitude});
      },
      [&](const LatentAttentionBlock& block) {
        latent.include(block, block.query_down ? static_cast<int>(block.query_down->out()) : 0);
        narrow_shapes.clear();
        add_shape({.heads = block.heads,
                   .kv_heads = 1,
                   .head_dim = block.key_dim(),
                   .latent = block.rank});
        ropes.insert({block.rope.inverse_frequencies, block.rope.magnitude});
      },
      [&](const FeedForwardBlock& block) {
        widths.hidden = std::max(widths.hidden, static_cast<int>(block.up.weight.rows));
      },
      [&](const DeltaNetBlock& block) {
        widths.delta_net.include(block.channels(), block.value_heads, block.value_dim);
      },
      [&](const ShortConvBlock& block) {
        widths.short_channels = std::max(widths.short_channels, block.channels());
      },
      [&](const Mamba2Block& block) {
        widths.mamba2.include(block.channels(), block.heads, block.head_dim);
      },
      [&](const ExpertsBlock& block) {
        widths.experts = std::max(widths.experts, block.experts);
        widths.chosen = std::max(widths.chosen, block.choice.chosen);
        widths.expert_hidden = std::max(widths.expert_hidden, block.intermediate_size());
        if (block.router_norm) widths.router_norm = true;
        if (!block.shared) return;
        widths.shared = true;
        if (block.shared->input_norm) widths.shared_norm = true;
        widths.hidden = std::max(widths.hidden, static_cast<int>(block.shared->up.weight.rows));
      },
      [&](const LayerInputBlock&) {},
  };
  for (const Block& block : plan.blocks) std::visit(measure, block);
  const int rows = limits.rows, model = static_cast<int>(plan.embed.table.columns);
  const int context = plan.config.context_length;

  // The stream, what a block adds to it, and both once more for the rows that go on after the last
  // attention block; queries, keys and values; the inputs of products.
  std::size_t bytes =
      3 * RowBuffer::bytes_for(rows, model) + RowBuffer::bytes_for(rows, widths.query) +
      2 * RowBuffer::bytes_for(rows, widths.kv) + 2 * InputBuffer::bytes_for(rows, model) +
      InputBuffer::bytes_for(rows, widths.query) + InputBuffer::bytes_for(rows, widths.hidden);
  bytes += LatentAttentionLayers::bytes_for(rows, latent);
  if (widths.gate > 0) bytes += RowBuffer::bytes_for(rows, widths.gate);
  bytes += HeadStates::bytes_for(rows, widths.delta_net);
  bytes += HeadStates::bytes_for(rows, widths.mamba2);
  if (widths.short_channels > 0) bytes += ShortConvLayers::bytes_for(rows, widths.short_channels);
  if (widths.experts > 0) {
    bytes +=
        ExpertLayers::bytes_for(rows, widths.experts, widths.chosen, model, widths.expert_hidden,
                                widths.shared, widths.router_norm + widths.shared_norm);
  }
  if (const auto& inputs = plan.layer_inputs) {
    bytes += LayerInputLayers::bytes_for(rows, inputs->layers, inputs->size) +
             workers * sizeof(float) * inputs->table.columns;
  }
  if (unit) {
    // All inputs that products read by role.
    const int inputs[] = {model,
                          widths.query,
                          widths.hidden,
                          latent.low,
                          latent.values,
                          widths.delta_net.values,
                          widths.mamba2.values,
                          widths.short_channels,
                          plan.layer_inputs ? static_cast<int>(plan.layer_inputs->size) : 0,
                          widths.router_norm ? model : 0,
                          widths.shared_norm ? model : 0};
    for (const int columns : inputs) bytes += InputBuffer::tile_bytes_for(rows, columns);
  }
  for (const auto& [frequencies, magnitude] : ropes) {
    bytes += std::size_t{2} * frequencies.size() * context * sizeof(float);
  }
  std::size_t scratch = 0;
  for (const auto* list : {&shapes, &narrow_shapes}) {
    for (const AttentionShape& shape : *list) {
      bytes += AttentionWork::most_bytes(shape, rows, context, workers);
      scratch = std::max(scratch, AttentionWork::most_scratch_bytes(shape, unit));
    }
  }
  bytes += workers * (RowBuffer::bytes_for(1, model) + scratch + prepared_bytes(plan, rows) +
                      worker_bytes(unit));
  const auto vocabulary = static_cast<std::size_t>(plan.head.weight.weight.rows);
  return bytes + limits.wanted_rows * vocabulary * sizeof(float);
}

}  // namespace mlxd::cpu
