#include "api/responses/parameters.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/json_values.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;
using P = Parameter;

constexpr int kMaxInt = std::numeric_limits<int>::max();

bool never(const json::value&) { return false; }
bool is_false(const json::value& value) { return value == false; }
bool is_empty_list(const json::value& value) {
  return value.is_array() && value.get_array().empty();
}
// The cache is filled by what is computed: there is no request that fills it alone.
bool prewarms_nothing(const json::value& value) {
  if (!value.is_object()) return false;
  const auto* prewarm = value.get_object().if_contains("prewarm");
  return prewarm == nullptr || prewarm->is_null() || is_false(*prewarm);
}

using Sampling = SamplingParams;
using To = FieldsOf<Fields>;
using Job = GenerateJob;

Result<void> read_model(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("model", "a model id", value);
  fields.model = view(value.get_string());
  return {};
}
Result<void> read_instructions(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("instructions", "a string", value);
  fields.instructions = view(value.get_string());
  return {};
}
Result<void> read_previous(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("previous_response_id", "the id of a response", value);
  fields.previous_response_id = view(value.get_string());
  return {};
}
// These two mean something only with others.
Result<void> keep_input(const json::value& value, Fields& fields) {
  fields.input = &value;
  return {};
}
Result<void> keep_choice(const json::value& value, Fields& fields) {
  fields.said_choice = &value;
  return {};
}
Result<void> read_tool_list(const json::value& value, Fields& fields) {
  return read_tools(value, "tools", fields);
}

// A conversation that does not fit is refused in both cases, as `disabled` asks: nothing is taken
// out of it unseen.
Result<void> read_truncation(const json::value& value, Fields&) {
  if (value == "auto" || value == "disabled") return {};
  return bad_value("truncation", "'truncation' must be \"disabled\" or \"auto\".");
}

Result<void> read_stream_options(const json::value& value, Fields& fields) {
  if (!value.is_object()) return wrong_type("stream_options", "an object", value);
  for (const auto& [key, option] : value.get_object()) {
    if (option.is_null()) continue;
    if (key == "include_obfuscation" && is_false(option)) continue;  // what the server does
    auto refused = fields.unknown("stream_options." + std::string(key.data(), key.size()));
    if (!refused) return refused;
  }
  return {};
}

Result<void> read_seed(const json::value& value, Fields& fields) {
  auto seed = as_seed("seed", value);
  if (!seed) return seed.error();
  fields.job.sampling.seed = seed->number;
  fields.seed = std::move(seed->said);
  return {};
}

Result<void> read_cache_key(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("prompt_cache_key", "a string", value);
  if (!value.get_string().empty()) fields.text.keep = {{KeepRule::kAll, kSessionTime}};
  return {};
}

Result<void> read_timeout(const json::value& value, Fields& fields) {
  if (!value.is_number()) return wrong_type("timeout", "a number of seconds", value);
  const auto seconds = value.to_number<double>();
  if (!(seconds > 0)) {
    return bad_value("timeout", "'timeout' is out of range; send seconds, more than 0.");
  }
  fields.timeout_seconds = seconds;
  return {};
}

// name, rule, what it accepts (where the rule does not say it), what the answer says without it
const std::array kParameters = {
    P{"model", P::Custom{read_model, "ModelId"}, "a model id (GET /v1/models lists them)"},
    P{"input", P::Custom{keep_input, "ResponseInput"}, "a string or an array of items"},
    P{"instructions", P::Custom{read_instructions, "Text"}, "a string", "null"},
    P{"previous_response_id", P::Custom{read_previous, "Text"}, "the id of a response", "null"},
    P{"store", P::Flag{To::own<&Fields::store>}, {}, "true"},
    P{"stream", P::Flag{To::own<&Fields::stream>}},
    P{"stream_options", P::Custom{read_stream_options, "ResponseStreamOptions"}, "an object"},
    P{"include", P::Custom{read_include, "ResponseInclude"}, "an array of strings"},

    P{"max_output_tokens", P::Integer{To::job<&Job::max_tokens>, 1, kMaxInt}, {}, "null"},
    P{"temperature", P::Number{To::sampling<&Sampling::temperature>, 0, 2}, {}, "1.0"},
    P{"top_p", P::Number{To::sampling<&Sampling::top_p>, 0, 1, true}, {}, "1.0"},
    P{"top_k", P::Integer{To::sampling<&Sampling::top_k>, 0, kMaxInt}},
    P{"min_p", P::Number{To::sampling<&Sampling::min_p>, 0, 1}},
    P{"seed", P::Custom{read_seed, "Seed"}, "a 64-bit integer"},
    P{"top_logprobs", P::Integer{To::sampling<&Sampling::top_logprobs>, 0, 20}, {}, "0"},
    P{"timeout", P::Custom{read_timeout, "Seconds"},
      "seconds, more than 0 and at most the server's own"},
    P{"priority", P::Integer{To::job<&Job::priority>, 0, kHighestPriority}},

    P{"text", P::Custom{read_text_format, "ResponseText"}, "an object",
      R"({"format":{"type":"text"}})"},
    P{"reasoning", P::Custom{read_reasoning, "ResponseReasoning"}, "an object",
      R"({"effort":null,"summary":null})"},
    P{"tools", P::Custom{read_tool_list, "ResponseTools"}, "an array of tools", "[]"},
    P{"tool_choice", P::Custom{keep_choice, "ResponseToolChoice"},
      "none, auto, required, a tool or allowed_tools", R"("auto")"},
    P{"parallel_tool_calls", P::Flag{To::own<&Fields::parallel_calls>}, {}, "true"},
    // Of built-in tools, of which there are none.
    P{"max_tool_calls",
      P::Custom{[](const json::value& value, Fields&) -> Result<void> {
                  if (as_integer(value)) return {};
                  return wrong_type("max_tool_calls", "an integer", value);
                },
                "Integer"},
      "an integer", "null"},
    P{"truncation", P::Custom{read_truncation, "ResponseTruncation"}, "\"disabled\" or \"auto\""},

    P{"metadata", NoBehaviour::object, {}, "{}"},
    P{"user", NoBehaviour::text, {}, "null"},
    P{"safety_identifier", NoBehaviour::text, {}, "null"},
    P{"prompt_cache_key", P::Custom{read_cache_key, "Text"}, "a string", "null"},
    P{"prompt_cache_retention", NoBehaviour::text},
    P{"prompt_cache_options", Unsupported{prewarms_nothing}},
    P{"service_tier", NoBehaviour::text},
    P{"client_metadata", NoBehaviour::object},  // of Codex

    P{"background", Unsupported{is_false}},
    P{"background_options", Unsupported{never}},
    P{"conversation", Unsupported{never}},
    P{"prompt", Unsupported{never}},
    P{"context_management", Unsupported{is_empty_list}},
    P{"moderation", Unsupported{never}},
    P{"image", Unsupported{never}},
    P{"access_programs", Unsupported{never}},
};

}  // namespace

std::string Parameter::describe() const {
  return accepts.empty() ? describe_rule<Fields>(rule) : std::string(accepts);
}

Result<void> Parameter::read(const json::value& value, Fields& fields) const {
  auto read = read_by_rule<Fields>(rule, name, describe(), value, fields);
  if (read && !echo.empty()) fields.echoed[name] = value;
  return read;
}

std::span<const Parameter> parameters() { return kParameters; }

const Parameter* find_parameter(std::string_view name) {
  const auto row = std::ranges::find(kParameters, name, &Parameter::name);
  return row == kParameters.end() ? nullptr : &*row;
}

std::string echo_members(const Fields& fields) {
  std::string members;
  for (const auto& row : kParameters) {
    if (row.echo.empty()) continue;
    const auto* said = fields.echoed.if_contains(row.name);
    fmt::format_to(std::back_inserter(members), "{}\"{}\":{}", members.empty() ? "" : ",", row.name,
                   said == nullptr ? std::string(row.echo) : json::serialize(*said));
  }
  return members;
}

}  // namespace mlxd::api::responses
