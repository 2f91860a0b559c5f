#include "api/anthropic/parameters.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "api/anthropic/read_values.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;
using P = Parameter;
using Fields = RequestFields;
using To = FieldsOf<Fields>;
using R = ParameterRules<Fields>;

constexpr int kMaxInt = std::numeric_limits<int>::max();

Result<void> read_model(const json::value& value, RequestFields& fields) {
  if (!value.is_string()) return wrong_type("model", "a model id", value);
  fields.model = std::string(value.get_string());
  return {};
}

const std::array kParameters = {
    P{"model", R::Custom{read_model, "ModelId"}},
    P{"messages", R::Custom{read_messages, "AnthropicMessages"}},
    P{"system", R::Custom{read_system, "AnthropicSystem"}},
    P{"max_tokens", R::Integer{To::job<&GenerateJob::max_tokens>, 0, kMaxInt}},
    P{"stop_sequences", R::Custom{read_stop_sequences, "StopList"}},
    P{"stream", R::Flag{To::own<&Fields::stream>}},
    P{"temperature", R::Number{To::sampling<&SamplingParams::temperature>, 0, 1}},
    P{"top_p", R::Number{To::sampling<&SamplingParams::top_p>, 0, 1}},
    P{"top_k", R::Integer{To::sampling<&SamplingParams::top_k>, 0, kMaxInt}},
    P{"seed", R::Custom{read_seed, "Seed"}},
    P{"tools", R::Custom{read_tools, "AnthropicTools"}},
    P{"tool_choice", R::Custom{read_tool_choice, "AnthropicToolChoice"}},
    P{"thinking", R::Custom{read_thinking, "AnthropicThinking"}},
    P{"output_config", R::Custom{read_output_config, "AnthropicOutputConfig"}},
    P{"output_format",
      R::Custom{read_output_format, "AnthropicFormat"}},  // before it was in output_config
    P{"cache_control", R::Custom{read_whole_cache_control, "CacheControl"}},

    P{"metadata", NoBehaviour::object},
    P{"service_tier", NoBehaviour::text},
    P{"inference_geo", NoBehaviour::text},
    P{"speed", NoBehaviour::text},
    P{"user_profile_id", NoBehaviour::text},

    P{"context_management", {}},
    P{"mcp_servers", {}},
    P{"container", {}},
    P{"diagnostics", {}},
};

}  // namespace

Result<void> Parameter::read(const json::value& value, RequestFields& fields) const {
  if (!rule) {
    fields.ignored.emplace_back(name);
    return {};
  }
  return read_by_rule<Fields>(*rule, name, describe_rule<Fields>(*rule), value, fields);
}

std::span<const Parameter> parameters() { return kParameters; }

const Parameter* find_parameter(std::string_view name) {
  const auto row = std::ranges::find(kParameters, name, &Parameter::name);
  return row == kParameters.end() ? nullptr : &*row;
}

}  // namespace mlxd::api::anthropic
