#include "tracing/sampler.h"

#include <cmath>
#include <cstdint>

namespace mlxd::tracing {

bool Sampler::samples(const TraceId& id, const RemoteParent* parent) const {
  if (follows_parent && parent != nullptr) return parent->sampled;
  if (ratio >= 1) return true;
  std::uint64_t last = 0;
  for (std::size_t i = 8; i < id.size(); ++i) last = last << 8 | id[i];
  return static_cast<double>(last >> 1) < ratio * std::ldexp(1.0, 63);
}

std::optional<Sampler> sampler_named(std::string_view name, double ratio) {
  constexpr std::string_view kParentBased = "parentbased_";
  Sampler sampler;
  sampler.follows_parent = name.starts_with(kParentBased);
  if (sampler.follows_parent) name.remove_prefix(kParentBased.size());
  if (name == "always_on") return sampler;
  if (name == "always_off") {
    sampler.ratio = 0;
    return sampler;
  }
  if (name != "traceidratio") return std::nullopt;
  sampler.ratio = ratio;
  return sampler;
}

}  // namespace mlxd::tracing
