#include "model/architectures/registry.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/check.h"
#include "base/error.h"
#include "model/architectures/architectures.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr std::array<std::string_view, 2> kLlamaTypes = {"llama", "mistral"};
constexpr std::array<std::string_view, 1> kQwen2Types = {"qwen2"};
constexpr std::array<std::string_view, 1> kQwen3Types = {"qwen3"};
constexpr std::array<std::string_view, 2> kGemma3Types = {"gemma3_text", "gemma3"};

constexpr std::array<Architecture, 4> kArchitectures = {{
    {"llama", kLlamaTypes, "llama", llama_gguf_finish, llama_json_defaults, llama_json_finish,
     plan_llama},
    {"qwen2", kQwen2Types, "qwen2", qwen_gguf_finish, qwen_json_defaults, qwen_json_finish,
     plan_qwen2},
    {"qwen3", kQwen3Types, "qwen3", qwen_gguf_finish, qwen_json_defaults, qwen_json_finish,
     plan_qwen3},
    {"gemma3_text", kGemma3Types, "gemma3", gemma3_gguf_finish, gemma3_json_defaults,
     gemma3_json_finish, plan_gemma3},
}};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture& architecture_of_gguf(std::string_view gguf_name, std::string_view file) {
  std::vector<std::string_view> known;
  for (const Architecture& each : kArchitectures) {
    if (each.gguf_name == gguf_name) return each;
    known.push_back(each.gguf_name);
  }
  throw LoadError(fmt::format("{}: \"general.architecture\" is {}; mlxd runs {}", file,
                              in_quotes(gguf_name), fmt::join(known, ", ")));
}

const Architecture& architecture_of_model_type(std::string_view model_type, std::string_view file) {
  std::vector<std::string_view> known;
  for (const Architecture& each : kArchitectures) {
    for (const std::string_view name : each.model_types) {
      if (name == model_type) return each;
      known.push_back(name);
    }
  }
  throw LoadError(fmt::format("{}: \"model_type\" is {}; mlxd runs {}", file, in_quotes(model_type),
                              fmt::join(known, ", ")));
}

ModelPlan make_plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  const auto found =
      std::find_if(kArchitectures.begin(), kArchitectures.end(),
                   [&](const Architecture& each) { return each.name == config.architecture; });
  check(found != kArchitectures.end(), "a config names an architecture of the registry");
  return found->plan(config, std::move(weights));
}

}  // namespace mlxd
