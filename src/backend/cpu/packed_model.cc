#include "backend/cpu/packed_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "backend/cpu/matrix_packer.h"
#include "base/error.h"
#include "base/overloaded.h"

namespace mlxd::cpu {
namespace {

// Where the rows of a head come from when the neighbours of its rotated part become halves.
std::vector<int> halves_from_neighbours(int head_dim, int rotated) {
  std::vector<int> source(head_dim);
  for (int i = 0; i < head_dim; ++i) {
    if (i >= rotated) {
      source[i] = i;
    } else {
      source[i] = i < rotated / 2 ? 2 * i : 2 * (i - rotated / 2) + 1;
    }
  }
  return source;
}

void reorder(std::vector<float>& values, const RowList& source) {
  const std::vector<float> old = std::exchange(values, {});
  for (const int from : source) values.push_back(old[from]);
}

// Of each of `heads`, whose rows are `stride` apart, those of `within` (empty: the first
// `head_dim`) from `offset` on.
RowList rows_of_heads(int heads, int stride, int offset, int head_dim,
                      const std::vector<int>& within) {
  RowList rows;
  for (int head = 0; head < heads; ++head) {
    for (int i = 0; i < head_dim; ++i) {
      rows.push_back(head * stride + offset + (within.empty() ? i : within[i]));
    }
  }
  return rows;
}

// [channels, kernel] -> [kernel, channels]
std::vector<float> by_row(const std::vector<float>& convolution, int channels, int kernel) {
  std::vector<float> rows(convolution.size());
  for (int channel = 0; channel < channels; ++channel) {
    for (int i = 0; i < kernel; ++i) {
      rows[static_cast<std::size_t>(i) * channels + channel] =
          convolution[static_cast<std::size_t>(channel) * kernel + i];
    }
  }
  return rows;
}

class Packer {
 public:
  Packer(const ModelPlan& plan, const Kernels& kernels) : plan_(plan), matrices_(kernels) {}

  PackedModel run(WorkerPool& pool, const LoadProgress& progress) {
    describe();
    model_.weight_bytes = matrices_.run(pool, progress);
    return std::move(model_);
  }

 private:
  void describe() {
    model_.hidden_size = static_cast<int>(plan_.embed.table.columns);
    model_.kv_layers = plan_.kv_layers;
    model_.context_length = plan_.config.context_length;
    model_.embedding_scale = plan_.embed.scale;
    model_.logit_softcap = plan_.head.softcap;
    model_.head_norm = plan_.head.norm;
    need_norm(model_.head_norm, model_.hidden_size, "head");
    matrices_.want(plan_.embed.table, model_.embedding);
    linear(plan_.head.weight, plan_.embed.table.rows, model_.hidden_size, model_.head);
    if (plan_.layer_inputs) describe(*plan_.layer_inputs);
    // Targets are addresses within the blocks, which must not move.
    model_.blocks.reserve(plan_.blocks.size());
    for (const auto& block : plan_.blocks) {
      std::visit([this](const auto& each) { add(each); }, block);
    }
  }

  void describe(const LayerInputs& inputs) {
    PackedLayerInputs& packed = model_.layer_inputs.emplace();
    packed.layers = inputs.layers;
    packed.size = inputs.size;
    packed.table = inputs.table;
    packed.file = plan_.weights;
    packed.norm = inputs.norm;
    packed.table_scale = inputs.table_scale;
    packed.projection_scale = inputs.projection_scale;
    packed.scale = inputs.scale;
    need_norm(packed.norm, inputs.size, inputs.table.name);
    linear(inputs.projection, inputs.table.columns, model_.hidden_size, packed.projection);
  }

  void add(const LayerInputBlock& block) {
    auto& packed = std::get<PackedLayerInput>(model_.blocks.emplace_back(PackedLayerInput{}));
    const int size = plan_.layer_inputs->size;
    packed.first = block.index * size;
    packed.residual = {block.post_norm, 1, block.stream_scale};
    need_norm(packed.residual.norm, model_.hidden_size, block.gate.weight.name);
    linear(block.gate, size, model_.hidden_size, packed.gate);
    linear(block.output, model_.hidden_size, size, packed.output);
  }

  void add(const AttentionBlock& block) {
    auto& packed = std::get<PackedAttention>(model_.blocks.emplace_back(PackedAttention{}));
    const int query_rows = block.heads * block.head_dim;
    const int kv_rows = block.kv_heads * block.head_dim;
    packed.layer = block.layer;
    packed.shares_cache = block.shares_cache;
    packed.input_norm = block.input_norm;
    packed.value_norm = block.value_norm;
    packed.query_norm = block.query_norm;
    packed.key_norm = block.key_norm;
    packed.heads = block.heads;
    packed.kv_heads = block.kv_heads;
    packed.head_dim = block.head_dim;
    packed.scale = block.scale;
    packed.softcap = block.softcap;
    packed.window = block.window;
    packed.temperature = block.temperature;
    packed.sinks = block.sinks;
    packed.residual = {block.post_norm, block.residual_scale};
    need_norm(packed.input_norm, model_.hidden_size, block.query.weight.name);
    need_norm(packed.residual.norm, model_.hidden_size, block.query.weight.name);
    if (!packed.norms_heads(packed.query_norm)) {
      need_norm(packed.query_norm, query_rows, block.query.weight.name);
    }
    need_norm(packed.value_norm, block.head_dim, block.value.weight.name);
    if (!packed.norms_heads(packed.key_norm)) {
      need_norm(packed.key_norm, kv_rows, block.key.weight.name);
    }
    if (block.layer < 0 || block.layer >= plan_.kv_layers || block.kv_heads <= 0 ||
        block.heads % block.kv_heads != 0) {
      throw LoadError(block.query.weight.name + ": heads or layer out of range");
    }
    if (!block.sinks.empty() && static_cast<int>(block.sinks.size()) != block.heads) {
      throw LoadError(block.query.weight.name + ": " + std::to_string(block.sinks.size()) +
                      " sinks for " + std::to_string(block.heads) + " heads");
    }
    std::vector<int> source;
    if (block.rope) {
      const int rotated = 2 * static_cast<int>(block.rope->inverse_frequencies.size());
      if (rotated > block.head_dim) {
        throw LoadError(block.query.weight.name + ": more dimensions rotated than a head has");
      }
      packed.rope = find_rope(*block.rope);
      if (block.rope->interleaved) source = halves_from_neighbours(block.head_dim, rotated);
    }
    const int d = block.head_dim, stride = block.gated ? 2 * d : d;
    RowList query, key;
    if (block.gated || !source.empty()) query = rows_of_heads(block.heads, stride, 0, d, source);
    if (!source.empty()) key = rows_of_heads(block.kv_heads, d, 0, d, source);
    linear(block.query, block.heads * stride, model_.hidden_size, packed.query, query);
    if (block.gated) {
      linear(block.query, block.heads * stride, model_.hidden_size, packed.gate.emplace(),
             rows_of_heads(block.heads, stride, d, d, {}));
    }
    if (!block.shares_cache) {
      linear(block.key, kv_rows, model_.hidden_size, packed.key, key);
      // Not where keys are changed before each head is turned.
      const bool plain = source.empty() && !packed.norms_rows(packed.key_norm);
      if (!plain || !block.values_are_keys()) {
        linear(block.value, kv_rows, model_.hidden_size, packed.value.emplace());
      }
    }
    linear(block.output, model_.hidden_size, query_rows, packed.output);
    if (!source.empty()) {
      for (auto* norm : {&packed.query_norm, &packed.key_norm}) {
        if (!*norm) continue;
        const int heads = static_cast<int>((*norm)->weight.size()) / d;
        reorder((*norm)->weight, rows_of_heads(heads, d, 0, d, source));
      }
    }
  }

  void add(const LatentAttentionBlock& block) {
    auto& packed =
        std::get<PackedLatentAttention>(model_.blocks.emplace_back(PackedLatentAttention{}));
    const std::string& name = block.query.weight.name;
    const int d = model_.hidden_size, query_dim = block.query_dim();
    if (block.plain_dim % kGroupColumns != 0 || block.rank % kGroupColumns != 0 ||
        block.rotary_dim % kTileRows != 0 || block.value_dim % kTileRows != 0 ||
        block.heads * block.value_dim % kGroupColumns != 0) {
      throw LoadError(name +
                      ": the cpu backend runs latents and heads whose sizes are multiples of " +
                      std::to_string(kGroupColumns) + ", and values and rotated parts of " +
                      std::to_string(kTileRows) + ", not " + std::to_string(block.rank) + ", " +
                      std::to_string(block.plain_dim) + ", " + std::to_string(block.value_dim) +
                      " and " + std::to_string(block.rotary_dim));
    }
    packed.layer = block.layer;
    packed.input_norm = block.input_norm;
    packed.query_norm = block.query_norm;
    packed.latent_norm = block.latent_norm;
    packed.heads = block.heads;
    packed.rank = block.rank;
    packed.plain_dim = block.plain_dim;
    packed.rotary_dim = block.rotary_dim;
    packed.value_dim = block.value_dim;
    packed.scale = block.scale;
    packed.temperature = block.temperature;
    packed.residual = {std::nullopt, block.residual_scale};
    packed.rope = find_rope(block.rope);
    if (2 * static_cast<int>(block.rope.inverse_frequencies.size()) != block.rotary_dim) {
      throw LoadError(name + ": its rope does not turn the " + std::to_string(block.rotary_dim) +
                      " dimensions beside a latent");
    }
    need_norm(packed.input_norm, d, name);
    need_norm(packed.latent_norm, block.rank, name);
    // What turns lies behind what does not, in a head and in the key.
    RowList query, key;
    if (block.rope.interleaved) {
      const std::vector<int> halves = halves_from_neighbours(block.rotary_dim, block.rotary_dim);
      const auto order = [&](int first) {
        std::vector<int> rows(first);
        std::iota(rows.begin(), rows.end(), 0);
        for (const int row : halves) rows.push_back(first + row);
        return rows;
      };
      query = rows_of_heads(block.heads, query_dim, 0, query_dim, order(block.plain_dim));
      key = order(block.rank);
    }
    std::int64_t query_columns = d;
    if (block.query_down) {
      query_columns = block.query_down->out();
      linear(*block.query_down, query_columns, d, packed.query_down.emplace());
      need_norm(packed.query_norm, static_cast<int>(query_columns), name);
    }
    linear(block.query, block.heads * query_dim, query_columns, packed.query, query);
    linear(block.latent, block.key_dim(), d, packed.latent, key);
    linear(block.key_up, std::int64_t{block.heads} * block.rank, block.plain_dim, packed.key_up);
    linear(block.value_up, std::int64_t{block.heads} * block.value_dim, block.rank,
           packed.value_up);
    linear(block.output, d, block.heads * block.value_dim, packed.output);
  }

  void add(const FeedForwardBlock& block) {
    auto& packed = std::get<PackedFeedForward>(model_.blocks.emplace_back(PackedFeedForward{}));
    packed.input_norm = block.input_norm;
    packed.residual = {block.post_norm, block.residual_scale, block.stream_scale};
    need_norm(packed.input_norm, model_.hidden_size, block.up.weight.name);
    need_norm(packed.residual.norm, model_.hidden_size, block.up.weight.name);
    mlp(block, block.activation, packed.mlp);
  }

  void add(const DeltaNetBlock& block) {
    auto& packed = std::get<PackedDeltaNet>(model_.blocks.emplace_back(PackedDeltaNet{}));
    const std::string& name = block.qkv.weight.name;
    const int d = model_.hidden_size, channels = block.channels();
    if (block.key_dim % kTileRows != 0 || block.value_dim % kTileRows != 0 ||
        block.value_heads * block.value_dim % kGroupColumns != 0) {
      throw LoadError(name + ": the cpu backend runs heads whose sizes are multiples of " +
                      std::to_string(kTileRows) + ", not of " + std::to_string(block.key_dim) +
                      " and " + std::to_string(block.value_dim));
    }
    packed.layer = block.layer;
    packed.input_norm = block.input_norm;
    packed.residual = {std::nullopt, block.residual_scale};
    packed.norm = block.norm;
    packed.key_heads = block.key_heads;
    packed.value_heads = block.value_heads;
    packed.key_dim = block.key_dim;
    packed.value_dim = block.value_dim;
    packed.kernel = block.kernel;
    packed.tiled = block.tiled;
    packed.decay = block.decay;
    packed.time_bias = block.time_bias;
    need_norm(packed.input_norm, d, name);
    // x / sqrt(sum + e) = x / sqrt(mean + e / n) / sqrt(n)
    constexpr float kEpsilon = 1e-6f;
    const float root = std::sqrt(static_cast<float>(block.key_dim));
    const auto size = static_cast<std::size_t>(block.key_dim);
    const float epsilon = kEpsilon / static_cast<float>(block.key_dim);
    packed.query_norm = {std::vector<float>(size, 1 / static_cast<float>(block.key_dim)), epsilon};
    packed.key_norm = {std::vector<float>(size, 1 / root), epsilon};
    packed.convolution = by_row(block.convolution, channels, block.kernel);
    const int values = block.value_heads * block.value_dim;
    linear(block.qkv, channels, d, packed.qkv);
    linear(block.gate, values, d, packed.gate);
    linear(block.alpha, block.value_heads, d, packed.alpha);
    linear(block.beta, block.value_heads, d, packed.beta);
    linear(block.output, d, values, packed.output);
  }

  void add(const ShortConvBlock& block) {
    auto& packed = std::get<PackedShortConv>(model_.blocks.emplace_back(PackedShortConv{}));
    const int d = model_.hidden_size, channels = block.channels();
    packed.layer = block.layer;
    packed.input_norm = block.input_norm;
    packed.residual = {std::nullopt, block.residual_scale};
    packed.convolution = by_row(block.convolution, channels, block.kernel);
    packed.bias = block.convolution_bias;
    packed.channels = channels;
    packed.kernel = block.kernel;
    need_norm(packed.input_norm, d, block.value.weight.name);
    linear(block.inner_gate, channels, d, packed.inner_gate);
    linear(block.outer_gate, channels, d, packed.outer_gate);
    linear(block.value, channels, d, packed.value);
    linear(block.output, d, channels, packed.output);
  }

  void add(const Mamba2Block& block) {
    auto& packed = std::get<PackedMamba2>(model_.blocks.emplace_back(PackedMamba2{}));
    const std::string& name = block.input.weight.name;
    const int d = model_.hidden_size, values = block.values();
    if (block.head_dim % kTileRows != 0 || block.state_size % kTileRows != 0 ||
        values % kGroupColumns != 0 || values / block.norm_groups % kTileRows != 0) {
      throw LoadError(name +
                      ": the cpu backend runs heads and states whose sizes are multiples of " +
                      std::to_string(kTileRows) + ", not " + std::to_string(block.head_dim) +
                      " and " + std::to_string(block.state_size));
    }
    packed.layer = block.layer;
    packed.input_norm = block.input_norm;
    packed.residual = {std::nullopt, block.residual_scale};
    packed.convolution = by_row(block.convolution, block.channels(), block.kernel);
    packed.bias = block.convolution_bias;
    packed.decay = block.decay;
    packed.time_bias = block.time_bias;
    packed.skip = block.skip;
    packed.least_time = block.least_time;
    packed.most_time = block.most_time;
    packed.norm = block.norm;
    packed.norm_groups = block.norm_groups;
    packed.heads = block.heads;
    packed.head_dim = block.head_dim;
    packed.groups = block.groups;
    packed.state_size = block.state_size;
    packed.kernel = block.kernel;
    need_norm(packed.input_norm, d, name);
    linear(block.gate, values, d, packed.gate);
    linear(block.input, block.channels(), d, packed.input);
    linear(block.time, block.heads, d, packed.time);
    linear(block.output, d, values, packed.output);
  }

  void add(const ExpertsBlock& block) {
    auto& packed = std::get<PackedExperts>(model_.blocks.emplace_back(PackedExperts{}));
    const std::string& name = block.up.weight.name;
    const int d = model_.hidden_size;
    packed.input_norm = block.input_norm;
    packed.router_norm = block.router_norm;
    packed.experts_norm = block.experts_norm;
    packed.residual = {block.post_norm, block.residual_scale, block.stream_scale};
    for (const auto* norm :
         {&packed.input_norm, &packed.router_norm, &packed.experts_norm, &packed.residual.norm}) {
      need_norm(*norm, d, name);
    }
    if (block.experts < 1 || block.up.out() % block.experts != 0) {
      throw LoadError(name + ": " + std::to_string(block.up.out()) + " rows are not those of " +
                      std::to_string(block.experts) + " experts");
    }
    const int f = block.intermediate_size();
    if (f % kGroupColumns != 0 || d % kTileRows != 0) {
      throw LoadError(name +
                      ": the cpu backend runs experts whose intermediate size is a multiple of " +
                      std::to_string(kGroupColumns) + ", not " + std::to_string(f));
    }
    packed.choice = block.choice;
    packed.experts = block.experts;
    packed.hidden_size = d;
    packed.intermediate_size = f;
    linear(block.router, block.experts, d, packed.router);
    const std::int64_t experts = block.experts;
    if (block.gate) linear(*block.gate, experts * f, d, packed.mlp.gate.emplace());
    linear(block.up, experts * f, d, packed.mlp.up);
    linear(block.down, experts * d, f, packed.mlp.down);
    packed.mlp.activation = block.activation;
    if (!block.shared) return;
    PackedSharedExpert& shared = packed.shared.emplace();
    shared.input_norm = block.shared->input_norm;
    shared.output_norm = block.shared->output_norm;
    need_norm(shared.input_norm, d, name);
    need_norm(shared.output_norm, d, name);
    mlp(*block.shared, block.activation, shared.mlp);
    if (block.shared->weight) linear(*block.shared->weight, 1, d, shared.weight.emplace());
  }

  // Of a feed-forward block or a shared expert.
  void mlp(const auto& block, Activation activation, PackedMlp& packed) {
    const std::int64_t intermediate = block.up.weight.rows;
    packed.activation = activation;
    if (block.gate) linear(*block.gate, intermediate, model_.hidden_size, packed.gate.emplace());
    linear(block.up, intermediate, model_.hidden_size, packed.up);
    linear(block.down, model_.hidden_size, intermediate, packed.down);
  }

  int find_rope(Rope rope) {
    rope.interleaved = false;
    for (std::size_t i = 0; i < model_.ropes.size(); ++i) {
      const Rope& known = model_.ropes[i];
      if (known.inverse_frequencies == rope.inverse_frequencies &&
          known.magnitude == rope.magnitude) {
        return static_cast<int>(i);
      }
    }
    model_.ropes.push_back(std::move(rope));
    return static_cast<int>(model_.ropes.size()) - 1;
  }

  static void need_norm(const std::optional<RmsNorm>& norm, int size, const std::string& name) {
    if (!norm || static_cast<int>(norm->weight.size()) == size) return;
    throw LoadError(name + ": the norm beside it has " + std::to_string(norm->weight.size()) +
                    " weights, not " + std::to_string(size));
  }

  void linear(const Linear& linear, std::int64_t rows, std::int64_t columns, PackedLinear& packed,
              const RowList& source = {}) {
    const Tensor& weight = linear.weight;
    if (linear.out() != rows || weight.columns != columns) {
      throw LoadError(weight.name + " is [" + std::to_string(linear.out()) + ", " +
                      std::to_string(weight.columns) + "], not [" + std::to_string(rows) + ", " +
                      std::to_string(columns) + "]");
    }
    if (!linear.bias.empty() && static_cast<std::int64_t>(linear.bias.size()) != rows) {
      throw LoadError(weight.name + ": its bias has " + std::to_string(linear.bias.size()) +
                      " numbers, not " + std::to_string(rows));
    }
    packed.bias = linear.bias;
    matrices_.want(
        weight, packed.matrix,
        linear.order.empty() && linear.rows.stride == 0 ? source : rows_of(linear, source));
    if (!source.empty() && !packed.bias.empty()) reorder(packed.bias, source);
  }

  // Of the weight, those of a linear that has some of them, in this order (empty: their own).
  static RowList rows_of(const Linear& linear, const RowList& order) {
    const auto& [first, count, stride] = linear.rows;
    RowList rows;
    rows.reserve(static_cast<std::size_t>(linear.out()));
    for (int i = 0; i < static_cast<int>(linear.out()); ++i) {
      const int row = order.empty() ? i : order[static_cast<std::size_t>(i)];
      rows.push_back(linear.order.empty() ? row / count * stride + first + row % count
                                          : linear.order[static_cast<std::size_t>(row)]);
    }
    return rows;
  }

  const ModelPlan& plan_;
  MatrixPacker matrices_;
  PackedModel model_;
};

}  // namespace

std::size_t last_mixer(const PackedModel& model) {
  std::size_t last = 0;
  for (std::size_t i = 0; i < model.blocks.size(); ++i) {
    const bool writes =
        std::visit(Overloaded{
                       [](const PackedAttention& block) { return !block.shares_cache; },
                       [](const PackedLatentAttention&) { return true; },
                       [](const PackedDeltaNet&) { return true; },
                       [](const PackedShortConv&) { return true; },
                       [](const PackedMamba2&) { return true; },
                       [](const PackedFeedForward&) { return false; },
                       [](const PackedExperts&) { return false; },
                       [](const PackedLayerInput&) { return false; },
                   },
                   model.blocks[i]);
    if (writes) last = i;
  }
  return last;
}

PackedModel pack_model(const ModelPlan& plan, const Kernels& kernels, WorkerPool& pool,
                       const LoadProgress& progress) {
  return Packer(plan, kernels).run(pool, progress);
}

}  // namespace mlxd::cpu
