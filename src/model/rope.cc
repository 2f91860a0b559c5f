#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace mlxd {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

// Llama 3.1's scaling (llama-models, apply_scaling; the same in transformers,
// modeling_rope_utils.py): short wavelengths stay, long ones are stretched, with a ramp between.
double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double turns = scaling.original_context_length * frequency / kTurn;  // in the old context
  const double low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
  if (turns > high) return frequency;
  if (turns < low) return frequency / scaling.factor;
  const double kept = (turns - low) / (high - low);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// YaRN (Peng et al. 2023, section 3.2): the pair that makes `turns` turns in the old context.
double yarn_pair(double turns, int dimensions, double theta, const RopeScaling& scaling) {
  return dimensions * std::log(scaling.original_context_length / (turns * kTurn)) /
         (2 * std::log(theta));
}

struct YarnRamp {
  double first, last;  // pairs before `first` keep their frequency, those past `last` are stretched

  YarnRamp(int dimensions, double theta, const RopeScaling& scaling) {
    first = yarn_pair(scaling.beta_fast, dimensions, theta, scaling);
    last = yarn_pair(scaling.beta_slow, dimensions, theta, scaling);
    if (scaling.whole_bounds) {
      first = std::floor(first);
      last = std::ceil(last);
    }
    first = std::max(first, 0.0);
    last = std::min(last, dimensions - 1.0);
    if (first == last) last += 0.001;  // as the reference implementation avoids 0 / 0
  }

  double frequency(int pair, double plain, double factor) const {
    const double stretched = std::clamp((pair - first) / (last - first), 0.0, 1.0);
    return stretched * plain / factor + (1 - stretched) * plain;
  }
};

double magnitude(const RopeScaling& scaling) {
  if (scaling.attention_factor > 0) return scaling.attention_factor;
  const bool yarn = scaling.kind == RopeScaling::Kind::yarn;
  return yarn && scaling.factor > 1 ? 0.1 * std::log(scaling.factor) + 1 : 1;
}

}  // namespace

Rope make_rope(const RopeConfig& config) {
  const RopeScaling& scaling = config.scaling;
  const int dimensions = config.dimensions, pairs = dimensions / 2;
  check(config.divisors.empty() || config.divisors.size() == static_cast<std::size_t>(pairs),
        "there is one rope divisor a pair");
  Rope rope;
  rope.interleaved = config.interleaved;
  rope.inverse_frequencies.reserve(static_cast<std::size_t>(pairs));
  const YarnRamp ramp(dimensions, config.theta, scaling);
  for (int pair = 0; pair < pairs; ++pair) {
    double frequency = std::pow(static_cast<double>(config.theta), -2.0 * pair / dimensions);
    switch (scaling.kind) {
      case RopeScaling::Kind::none:
        break;
      case RopeScaling::Kind::linear:
        frequency /= scaling.factor;
        break;
      case RopeScaling::Kind::llama3:
        frequency = llama3_frequency(frequency, scaling);
        break;
      case RopeScaling::Kind::yarn:
        frequency = ramp.frequency(pair, frequency, scaling.factor);
        break;
    }
    if (!config.divisors.empty()) frequency /= config.divisors[static_cast<std::size_t>(pair)];
    rope.inverse_frequencies.push_back(static_cast<float>(frequency));
  }
  rope.magnitude = static_cast<float>(magnitude(scaling));
  return rope;
}

}  // namespace mlxd
