#include "model/json_rope.h"

#include <cmath>
#include <string>

#include <fmt/format.h>

#include "model/config_limits.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

float number_or(const JsonFields& fields, std::string_view field, double low, double high,
                float otherwise) {
  const auto value = fields.number(field, low, high);
  return value ? static_cast<float>(*value) : otherwise;
}

// transformers, modeling_rope_utils.py, get_mscale.
double yarn_mscale(double factor, double weight) {
  return factor > 1 ? 0.1 * weight * std::log(factor) + 1 : 1;
}

float yarn_attention_factor(const JsonFields& fields, float factor) {
  if (const auto stated = fields.number("attention_factor", 1e-3, 1e3)) {
    return static_cast<float>(*stated);
  }
  const auto own = fields.number("mscale", 0, 1e3);
  const auto all = fields.number("mscale_all_dim", 0, 1e3);
  if (own.value_or(0) == 0 || all.value_or(0) == 0) return 0;  // make_rope's own rule
  return static_cast<float>(yarn_mscale(factor, *own) / yarn_mscale(factor, *all));
}

RopeScaling read_scaling(const JsonFields& fields, int context_length) {
  RopeScaling scaling;
  std::string kind = "default";
  for (const char* field : {"rope_type", "type"}) {  // the second is the older name
    if (const auto stated = fields.string(field)) {
      kind = *stated;
      break;
    }
  }
  if (kind == "default") return scaling;
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (kind == "llama3") {
    scaling.kind = RopeScaling::Kind::llama3;
  } else if (kind == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
  } else {
    fields.fail("rope_type",
                fmt::format("is {}; mlxd knows default, linear, llama3 and yarn", in_quotes(kind)));
  }
  const auto factor = fields.number("factor", 1e-3, 1e6);
  if (!factor) fields.fail("factor", "is missing");
  scaling.factor = static_cast<float>(*factor);
  scaling.original_context_length =
      static_cast<int>(fields.integer("original_max_position_embeddings", 1, kMaxContextLength)
                           .value_or(context_length));
  scaling.low_frequency_factor = number_or(fields, "low_freq_factor", 1e-3, 1e6, 1);
  scaling.high_frequency_factor = number_or(fields, "high_freq_factor", 1e-3, 1e6, 4);
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    fields.fail("high_freq_factor",
                fmt::format("is {}, not above low_freq_factor {}", scaling.high_frequency_factor,
                            scaling.low_frequency_factor));
  }
  scaling.beta_fast = number_or(fields, "beta_fast", 1e-3, 1e6, 32);
  scaling.beta_slow = number_or(fields, "beta_slow", 1e-3, 1e6, 1);
  scaling.attention_factor = yarn_attention_factor(fields, scaling.factor);
  if (!fields.boolean("truncate").value_or(true)) {
    fields.fail("truncate", "is false; mlxd knows YaRN with whole correction bounds only");
  }
  return scaling;
}

void read_parameters(const JsonFields& parameters, ModelConfig& config) {
  config.rope_theta = number_or(parameters, "rope_theta", 1, 1e12, config.rope_theta);
  config.rope_scaling = read_scaling(parameters, config.context_length);
  if (parameters.number("partial_rotary_factor", 0, 1).value_or(1) != 1) {
    parameters.fail("partial_rotary_factor", "is below 1; mlxd rotates whole heads");
  }
}

}  // namespace

void read_json_rope(const JsonFields& fields, ModelConfig& config) {
  config.rope_theta = number_or(fields, "rope_theta", 1, 1e12, config.rope_theta);
  config.rope_local_theta =
      number_or(fields, "rope_local_base_freq", 1, 1e12, config.rope_local_theta);
  if (fields.number("partial_rotary_factor", 0, 1).value_or(1) != 1) {
    fields.fail("partial_rotary_factor", "is below 1; mlxd rotates whole heads");
  }
  if (const auto parameters = fields.object("rope_parameters")) {
    const auto local = parameters->object("sliding_attention");
    if (local) {
      config.rope_local_theta = number_or(*local, "rope_theta", 1, 1e12, config.rope_local_theta);
    }
    read_parameters(parameters->object("full_attention").value_or(*parameters), config);
  } else if (const auto scaling = fields.object("rope_scaling")) {
    read_parameters(*scaling, config);
  }
}

}  // namespace mlxd
