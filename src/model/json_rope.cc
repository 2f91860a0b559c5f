#include "model/json_rope.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
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

// Positive numbers, one a pair.
std::vector<float> read_divisors(const JsonFields& fields, std::string_view field, int pairs) {
  const boost::json::array* list = fields.array(field);
  if (list == nullptr) fields.fail(field, "is missing");
  if (list->size() != static_cast<std::size_t>(pairs)) {
    fields.fail(field, fmt::format("has {} numbers for {} pairs", list->size(), pairs));
  }
  std::vector<float> divisors;
  for (const boost::json::value& each : *list) {
    const bool number = each.is_number();
    const double value = number ? each.to_number<double>() : 0;
    if (value < 1e-3 || value > 1e6) fields.fail_type(field, each, "a number from 0.001 to 1e6");
    divisors.push_back(static_cast<float>(value));
  }
  return divisors;
}

// LongRoPE (Ding et al. 2024): one list of divisors for texts as long as those of the first
// training, one for longer ones. Which it is depends on the length that is served, not on a
// text's own, as in llama.cpp and vLLM: keys in a cache cannot be turned again when it grows.
void read_longrope(const JsonFields& fields, const JsonFields& root, int context_length,
                   RopeConfig& rope) {
  const auto original = [](const JsonFields& from) {
    return from.integer("original_max_position_embeddings", 1, kMaxContextLength);
  };
  const int old =
      static_cast<int>(original(fields).value_or(original(root).value_or(context_length)));
  rope.scaling.original_context_length = old;
  rope.divisors = read_divisors(fields, context_length > old ? "long_factor" : "short_factor",
                                rope.dimensions / 2);
  const auto stated = fields.number("factor", 1e-3, 1e6);
  const double factor = stated.value_or(static_cast<double>(context_length) / old);
  const double magnitude =
      factor > 1 && old > 1 ? std::sqrt(1 + std::log(factor) / std::log(old)) : 1;
  rope.scaling.attention_factor =
      number_or(fields, "attention_factor", 1e-3, 1e3, static_cast<float>(magnitude));
}

std::string kind_of(const JsonFields& fields) {
  for (const char* field : {"rope_type", "type"}) {  // the second is the older name
    if (const auto stated = fields.string(field)) return *stated;
  }
  return "default";
}

RopeScaling read_scaling(const JsonFields& fields, int context_length) {
  RopeScaling scaling;
  const std::string kind = kind_of(fields);
  if (kind == "default") return scaling;
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (kind == "llama3") {
    scaling.kind = RopeScaling::Kind::llama3;
  } else if (kind == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
  } else {
    fields.fail("rope_type",
                fmt::format("is {}; mlxd knows default, linear, llama3, yarn and longrope",
                            in_quotes(kind)));
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
  scaling.whole_bounds = fields.boolean("truncate").value_or(true);
  return scaling;
}

// `parameters`: rope_scaling or (a part of) rope_parameters of `root`.
void read_parameters(const JsonFields& parameters, const JsonFields& root, int context_length,
                     RopeConfig& rope) {
  rope.theta = number_or(parameters, "rope_theta", 1, 1e12, rope.theta);
  const std::string kind = kind_of(parameters);
  // Early Phi-3 files call it su or yarn.
  if (kind == "longrope" || kind == "su" || parameters.has("long_factor")) {
    read_longrope(parameters, root, context_length, rope);
  } else {
    rope.scaling = read_scaling(parameters, context_length);
  }
}

// rope_parameters, or those of one kind of layer where it tells kinds apart; rope_scaling in older
// files.
std::optional<JsonFields> parameters_of(const JsonFields& fields, std::string_view kind) {
  if (const auto parameters = fields.object("rope_parameters")) {
    return parameters->object(kind).value_or(*parameters);
  }
  return fields.object("rope_scaling");
}

int turned_dimensions(const JsonFields& fields, bool partial, int head_dim) {
  const auto factor = fields.number("partial_rotary_factor", 0, 1);
  if (factor.value_or(1) == 1) return head_dim;
  if (!partial) {
    fields.fail("partial_rotary_factor",
                "is below 1; mlxd rotates whole heads in this architecture");
  }
  return static_cast<int>(head_dim * *factor);
}

// Gemma 4's: of the whole head's frequencies the first part turns, at the pace that it has there.
void read_proportional(const JsonFields& parameters, int head_dim, RopeConfig& rope) {
  rope.theta = number_or(parameters, "rope_theta", 1, 1e12, rope.theta);
  rope.dimensions = head_dim;
  const double part = parameters.number("partial_rotary_factor", 0, 1).value_or(1);
  const float factor = number_or(parameters, "factor", 1e-3, 1e6, 1);
  rope.divisors.assign(head_dim / 2, std::numeric_limits<float>::infinity());
  std::fill_n(rope.divisors.begin(), static_cast<int>(head_dim * part) / 2, factor);
}

}  // namespace

void read_json_rope(const JsonFields& fields, bool partial, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.theta = number_or(fields, "rope_theta", 1, 1e12, rope.theta);
  const auto parameters = parameters_of(fields, "full_attention");
  if (parameters && kind_of(*parameters) == "proportional") {
    return read_proportional(*parameters, config.head_dim, rope);
  }
  rope.dimensions = turned_dimensions(fields, partial, config.head_dim);
  if (parameters && parameters->has("partial_rotary_factor")) {
    rope.dimensions = turned_dimensions(*parameters, partial, config.head_dim);
  }
  if (parameters) read_parameters(*parameters, fields, config.context_length, rope);
}

RopeConfig read_json_sliding_rope(const JsonFields& fields, const ModelConfig& config,
                                  float theta) {
  RopeConfig rope;
  rope.theta = theta;
  rope.dimensions = config.head_dim;
  const auto parameters = fields.object("rope_parameters");
  if (!parameters) return rope;
  if (const auto own = parameters->object("sliding_attention")) {
    read_parameters(*own, fields, config.context_length, rope);
  }
  return rope;
}

}  // namespace mlxd
