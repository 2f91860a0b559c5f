#include "model/architectures/registry.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/check.h"
#include "base/error.h"
#include "model/quoted.h"

namespace mlxd {

#define ARCHITECTURE(name) Architecture name##_architecture();
#include "model/architectures/architectures.def"
#undef ARCHITECTURE

std::span<const Architecture> architectures() {
#define ARCHITECTURE(name) name##_architecture(),
  static const auto all = std::to_array<Architecture>({
#include "model/architectures/architectures.def"
  });
#undef ARCHITECTURE
  return all;
}

const Architecture& architecture_of_gguf(std::string_view gguf_name, std::string_view file) {
  std::vector<std::string_view> known;
  for (const Architecture& each : architectures()) {
    if (each.gguf_name == gguf_name) return each;
    known.push_back(each.gguf_name);
  }
  throw LoadError(fmt::format("{}: \"general.architecture\" is {}; mlxd runs {}", file,
                              in_quotes(gguf_name), fmt::join(known, ", ")));
}

const Architecture& architecture_of_model_type(std::string_view model_type, std::string_view file) {
  std::vector<std::string_view> known;
  for (const Architecture& each : architectures()) {
    for (const std::string_view name : each.model_types) {
      if (name == model_type) return each;
      known.push_back(name);
    }
  }
  throw LoadError(fmt::format("{}: \"model_type\" is {}; mlxd runs {}", file, in_quotes(model_type),
                              fmt::join(known, ", ")));
}

std::span<const GgufName> gguf_names_of(std::string_view gguf_name) {
  for (const Architecture& each : architectures()) {
    if (each.gguf_name == gguf_name) return each.gguf_names;
  }
  return {};
}

ModelPlan make_plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  const auto all = architectures();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Architecture& each) {
    return each.name == config.architecture;
  });
  check(found != all.end(), "a config names an architecture of the registry");
  return found->plan(config, std::move(weights));
}

}  // namespace mlxd
