#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "model/gguf_fields.h"
#include "model/json_fields.h"
#include "model/model_config.h"
#include "model/weights/gguf_weights.h"

// The numbers of Mamba-2 layers as files state them.
namespace mlxd {

inline constexpr GgufName kMamba2GgufNames[] = {
    {"ssm_in", "mamba.in_proj"},  {"ssm_conv1d", "mamba.conv1d"}, {"ssm_a", "mamba.A"},
    {"ssm_dt", "mamba.dt_proj"},  {"ssm_d", "mamba.D"},           {"ssm_norm", "mamba.norm"},
    {"ssm_out", "mamba.out_proj"}};

// Those, and a family's own.
template <std::size_t count>
constexpr auto with_mamba2_names(const GgufName (&own)[count]) {
  std::array<GgufName, std::size(kMamba2GgufNames) + count> names;
  std::ranges::copy(own, std::ranges::copy(kMamba2GgufNames, names.begin()).out);
  return names;
}

// ssm.conv_kernel, state_size, group_count, inner_size and time_step_rank.
void read_gguf_mamba2(const GgufFields& fields, const GgufFile& file, ModelConfig& config);

// What config.json calls them, which every family does in its own way.
struct Mamba2Names {
  std::string_view heads, head_dim, groups, state_size, kernel;
};
// Those, and time_step_limit, [least, most], of which null is no bound.
void read_json_mamba2(const JsonFields& fields, const Mamba2Names& names, ModelConfig& config);

}  // namespace mlxd
