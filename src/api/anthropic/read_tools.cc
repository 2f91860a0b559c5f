// The tools that a request declares, and what may and must be called of them.
#include <string>
#include <string_view>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/anthropic/read_values.h"
#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;

// What a tool may carry beside what is read; nothing here depends on it.
constexpr std::string_view kToolKeys =
    "type name description input_schema strict eager_input_streaming input_examples";

// Tools that Anthropic's servers or models know by their type have no schema: the model is not told
// of them, and the client is told so.
bool is_of_anthropic(const json::object& tool) {
  const auto* type = tool.if_contains("type");
  return type != nullptr && type->is_string() && *type != "custom" &&
         !tool.contains("input_schema");
}

Result<void> read_tool(const json::value& value, const std::string& place, RequestFields& fields) {
  if (!value.is_object()) return wrong_type(place, "an object with name and input_schema", value);
  const json::object& in = value.get_object();
  if (is_of_anthropic(in)) {
    const json::string& type = in.at("type").get_string();
    fields.ignored.push_back(
        fmt::format("{}:{}", place, std::string_view(type.data(), type.size())));
    return {};
  }
  const auto name = text_member(in, "name", place);
  if (!name) return name.error();
  ToolList::Function function{*name};
  if (const auto* said = in.if_contains("description"); said != nullptr && !said->is_null()) {
    const auto description = text_member(in, "description", place);
    if (!description) return description.error();
    function.description = *description;
  }
  const std::string schema_place = place + ".input_schema";
  function.parameters = in.if_contains("input_schema");
  if (function.parameters == nullptr) {
    return bad_value(schema_place,
                     fmt::format("'{}' is missing; send a JSON schema.", schema_place));
  }
  if (!function.parameters->is_object()) {
    return wrong_type(schema_place, "a JSON schema", *function.parameters);
  }
  if (const auto* strict = in.if_contains("strict"); strict != nullptr && !strict->is_null()) {
    if (!strict->is_bool()) return wrong_type(place + ".strict", "true or false", *strict);
    function.strict = strict->get_bool();
  }
  if (auto added = fields.tools.add(function, place); !added) return added;
  fields.tool_names.emplace_back(*name);
  return note_other_keys(in, kToolKeys, place, fields);
}

}  // namespace

Result<void> read_tools(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted = "an array of up to 256 tools";
  if (!value.is_array()) return wrong_type("tools", kWanted, value);
  const json::array& list = value.get_array();
  if (list.size() > kMaxTools) {
    return bad_value("tools",
                     fmt::format("'tools' has {} entries; send {}.", list.size(), kWanted));
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto read = read_tool(list[i], fmt::format("tools.{}", i), fields); !read) return read;
  }
  return {};
}

Result<void> read_tool_choice(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted =
      R"(an object whose 'type' is "auto", "any", "tool" or "none")";
  if (!value.is_object()) return wrong_type("tool_choice", kWanted, value);
  const json::object& in = value.get_object();
  const auto type = text_member(in, "type", "tool_choice");
  if (!type) return type.error();
  ToolChoice& choice = fields.tool_choice;
  choice.none = *type == "none";
  choice.must = *type == "any" || *type == "tool";
  if (!choice.none && !choice.must && *type != "auto") {
    return bad_value("tool_choice.type",
                     fmt::format("'tool_choice.type' is '{:.40}'; send {}.", *type, kWanted));
  }
  if (*type == "tool") {
    const auto name = text_member(in, "name", "tool_choice");
    if (!name) return name.error();
    choice.name = *name;
  }
  if (const auto* one = in.if_contains("disable_parallel_tool_use");
      one != nullptr && !one->is_null()) {
    if (!one->is_bool()) {
      return wrong_type("tool_choice.disable_parallel_tool_use", "true or false", *one);
    }
    choice.at_most_one = one->get_bool();
  }
  return note_other_keys(in, "type name disable_parallel_tool_use", "tool_choice", fields);
}

}  // namespace mlxd::api::anthropic
