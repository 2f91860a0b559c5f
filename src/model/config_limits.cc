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

void check_heads(int heads, int kv_heads, int head_dim, std::string_view file) {
  if (heads % kv_heads != 0) {
    throw LoadError(fmt::format("{}: {} attention heads cannot share {} KV heads evenly", file,
                                heads, kv_heads));
  }
  if (head_dim % 2 != 0) {
    throw LoadError(fmt::format("{}: the head dimension is {}, and rotary embeddings turn pairs",
                                file, head_dim));
  }
}

void check_delta_net(const DeltaNetConfig& net, std::string_view file) {
  if (net.key_heads == 0) return;
  if (net.value_heads < 1 || net.key_dim < 1 || net.value_dim < 1 || net.kernel < 2) {
    throw LoadError(fmt::format("{}: the numbers of its recurrent layers are not all there", file));
  }
  if (net.value_heads % net.key_heads != 0) {
    throw LoadError(
        fmt::format("{}: {} value heads of recurrent layers cannot share {} key heads "
                    "evenly",
                    file, net.value_heads, net.key_heads));
  }
}

// Layers that keep a state have the numbers of one.
void check_states(const ModelConfig& config, std::string_view file) {
  const Mamba2Config& mamba2 = config.mamba2;
  if (config.short_convolution == 1 || (mamba2.heads > 0 && mamba2.kernel == 1)) {
    throw LoadError(fmt::format("{}: a convolution that sees one token alone is none", file));
  }
  if (mamba2.heads > 0 && mamba2.heads % mamba2.groups != 0) {
    throw LoadError(fmt::format("{}: {} Mamba-2 heads cannot share {} groups evenly", file,
                                mamba2.heads, mamba2.groups));
  }
  if (!(mamba2.least_time <= mamba2.most_time)) {
    throw LoadError(fmt::format("{}: time steps of {} at least and {} at most", file,
                                mamba2.least_time, mamba2.most_time));
  }
}

void check_experts(const ExpertsConfig& experts, std::string_view file) {
  if (experts.count == 0) return;
  if (experts.chosen < 1 || experts.chosen > experts.count) {
    throw LoadError(
        fmt::format("{}: a row chooses {} of {} experts", file, experts.chosen, experts.count));
  }
  if (experts.intermediate_size < 1) {
    throw LoadError(fmt::format("{}: the experts' intermediate size is missing", file));
  }
  if (experts.count % experts.groups != 0 || experts.chosen_groups > experts.groups ||
      experts.chosen > experts.count / experts.groups * experts.chosen_groups) {
    throw LoadError(
        fmt::format("{}: {} experts of which {} are chosen cannot be in {} groups of "
                    "which {} are chosen",
                    file, experts.count, experts.chosen, experts.groups, experts.chosen_groups));
  }
}

}  // namespace

void check_config(const ModelConfig& config, std::string_view file) {
  check_heads(config.heads, config.kv_heads, config.head_dim, file);
  for (const AttentionConfig& attention : config.attention) {
    check_heads(config.heads, attention.kv_heads, attention.head_dim, file);
    if (attention.rope) check_rope(*attention.rope, attention.head_dim, file);
  }
  check_experts(config.experts, file);
  check_delta_net(config.delta_net, file);
  check_states(config, file);
}

}  // namespace mlxd
