#include "model/architectures/mamba2_config.h"

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {

void read_gguf_mamba2(const GgufFields& fields, const GgufFile& file, ModelConfig& config) {
  Mamba2Config& mamba2 = config.mamba2;
  mamba2.heads = fields.integer("ssm.time_step_rank", kMaxHeads);
  mamba2.groups = fields.integer("ssm.group_count", kMaxHeads);
  mamba2.state_size = fields.integer("ssm.state_size", kMaxHeadDim);
  mamba2.kernel = fields.integer("ssm.conv_kernel", kMaxConvolution);
  const int inner = fields.integer("ssm.inner_size", kMaxIntermediateSize);
  if (inner % mamba2.heads != 0) {
    file.fail(in_quotes(fields.key("ssm.inner_size")),
              fmt::format("is {}, which {} heads cannot share evenly", inner, mamba2.heads));
  }
  mamba2.head_dim = inner / mamba2.heads;
}

void read_json_mamba2(const JsonFields& fields, const Mamba2Names& names, ModelConfig& config) {
  Mamba2Config& mamba2 = config.mamba2;
  mamba2.heads = fields.count(names.heads, kMaxHeads);
  mamba2.head_dim = fields.count(names.head_dim, kMaxHeadDim);
  mamba2.groups = fields.count(names.groups, kMaxHeads);
  mamba2.state_size = fields.count(names.state_size, kMaxHeadDim);
  mamba2.kernel = fields.count(names.kernel, kMaxConvolution);
  const boost::json::array* limits = fields.array("time_step_limit");
  if (limits == nullptr) return;
  if (limits->size() != 2) {
    fields.fail("time_step_limit", fmt::format("has {} numbers, not 2", limits->size()));
  }
  float* const bounds[] = {&mamba2.least_time, &mamba2.most_time};
  for (std::size_t i = 0; i < 2; ++i) {
    const boost::json::value& each = (*limits)[i];
    if (each.is_null()) continue;
    const double value = each.is_number() ? each.to_number<double>() : -1;
    if (!(value >= 0 && value <= 1e30)) {
      fields.fail_type("time_step_limit", each, "a number from 0 to 1e30");
    }
    *bounds[i] = static_cast<float>(value);
  }
}

}  // namespace mlxd
