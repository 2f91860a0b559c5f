// What an answer is to look like: `text`, `reasoning` and `include`.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;
using Kind = GrammarSource::Kind;

Result<void> hold_to(Kind kind, std::string text, std::string param, Fields& fields) {
  fields.text.grammar = RequestedGrammar{{kind, std::move(text)}, std::move(param)};
  return {};
}

Result<void> check_one_of(const json::value& value, const std::string& param,
                          std::span<const std::string_view> words) {
  if (value.is_string() && std::ranges::find(words, view(value.get_string())) != words.end()) {
    return {};
  }
  return bad_value(param, fmt::format("'{}' must be {}.", param, fmt::join(words, ", ")));
}

Result<void> read_schema_format(const json::object& format, Fields& fields) {
  const json::value* schema = nullptr;
  for (const auto& [key, member] : format) {
    const std::string_view name(key.data(), key.size());
    const std::string param = fmt::format("text.format.{}", name);
    if (member.is_null() || name == "type") continue;
    if (name == "schema") {
      if (!member.is_object()) return wrong_type(param, "a JSON schema", member);
      schema = &member;
    } else if (name == "name" || name == "description") {
      if (!member.is_string()) return wrong_type(param, "a string", member);
    } else if (name == "strict") {  // an answer is held to its schema in any case
      if (!member.is_bool()) return wrong_type(param, "true or false", member);
    } else if (auto known = fields.unknown(param); !known) {
      return known;
    }
  }
  if (schema == nullptr) {
    return bad_value("text.format.schema",
                     "'text.format.schema' is missing; send the JSON schema there.");
  }
  return hold_to(Kind::json_schema, json::serialize(*schema), "text.format.schema", fields);
}

Result<void> read_format(const json::value& value, Fields& fields) {
  if (!value.is_object()) return wrong_type("text.format", "an object with a type", value);
  const json::object& format = value.get_object();
  const auto* type = format.if_contains("type");
  if (type != nullptr && *type == "json_schema") return read_schema_format(format, fields);
  for (const auto& [key, member] : format) {
    if (key == "type" || member.is_null()) continue;
    auto known = fields.unknown("text.format." + std::string(key.data(), key.size()));
    if (!known) return known;
  }
  if (type != nullptr && *type == "text") return {};
  if (type != nullptr && *type == "json_object") {
    return hold_to(Kind::json_object, {}, "text.format", fields);
  }
  return bad_value("text.format.type",
                   "'text.format.type' must be text, json_object or json_schema.");
}

}  // namespace

Result<void> read_text_format(const json::value& value, Fields& fields) {
  constexpr std::array<std::string_view, 3> kVerbosities = {"low", "medium", "high"};
  if (!value.is_object()) return wrong_type("text", "an object", value);
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_null()) continue;
    const std::string param = "text." + std::string(key.data(), key.size());
    const auto read = key == "format"      ? read_format(member, fields)
                      : key == "verbosity" ? check_one_of(member, param, kVerbosities)
                                           : fields.unknown(param);
    if (!read) return read;
  }
  return {};
}

// Reasoning is given as its summary whether that is asked for or not: so it can come back.
Result<void> read_reasoning(const json::value& value, Fields& fields) {
  constexpr std::array<std::string_view, 3> kSummaries = {"auto", "concise", "detailed"};
  constexpr std::array<std::string_view, 1> kContexts = {"auto"};
  if (!value.is_object()) return wrong_type("reasoning", "an object with effort", value);
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_null()) continue;
    const std::string param = "reasoning." + std::string(key.data(), key.size());
    Result<void> read;
    if (key == "effort") {
      if (!member.is_string() || !is_reasoning_effort(view(member.get_string()))) {
        return bad_value(param,
                         "'reasoning.effort' must be none, minimal, low, medium, high, "
                         "xhigh or max.");
      }
      fields.reasoning_effort = view(member.get_string());
    } else if (key == "summary" || key == "generate_summary") {
      read = check_one_of(member, param, kSummaries);
    } else if (key == "context") {
      read = check_one_of(member, param, kContexts);
    } else {
      read = fields.unknown(param);
    }
    if (!read) return read;
  }
  return {};
}

// What there is in any case (reasoning, as its summary), or belongs to tools that are not here.
Result<void> read_include(const json::value& value, Fields& fields) {
  constexpr std::array<std::string_view, 8> kKnown = {"message.output_text.logprobs",
                                                      "reasoning.encrypted_content",
                                                      "file_search_call.results",
                                                      "web_search_call.results",
                                                      "web_search_call.action.sources",
                                                      "code_interpreter_call.outputs",
                                                      "computer_call_output.output.image_url",
                                                      "message.input_image.image_url"};
  if (!value.is_array()) return wrong_type("include", "an array of strings", value);
  for (const json::value& one : value.get_array()) {
    if (auto checked = check_one_of(one, "include", kKnown); !checked) return checked;
    if (one == "message.output_text.logprobs") fields.logprobs = true;
  }
  return {};
}

}  // namespace mlxd::api::responses
