// The tools of a request, in their flat form, in namespaces and as free text, and which of them may
// or must be called.
#include <algorithm>
#include <array>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

std::string_view key_of(const json::key_value_pair& member) {
  return {member.key().data(), member.key().size()};
}

// "" where it is none.
std::string_view text_in(const json::object& in, std::string_view key) {
  const auto* value = in.if_contains(key);
  return value != nullptr && value->is_string() ? view(value->get_string()) : std::string_view{};
}

// Built-in tools of OpenAI's, which run there or in clients that were made for them, come and go;
// one more of them must not cost the request.
constexpr std::size_t kMaxTypeName = 64;

bool is_type_name(std::string_view type) {
  return !type.empty() && type.size() <= kMaxTypeName && std::ranges::all_of(type, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// Members that say when a tool is loaded or who may call it: the model sees all from the beginning.
bool says_nothing(std::string_view key) {
  constexpr std::array<std::string_view, 4> kKeys = {"defer_loading", "allowed_callers", "async",
                                                     "output_schema"};
  return std::ranges::find(kKeys, key) != kKeys.end();
}

Result<void> offer(const ToolList::Function& function, OfferedTool tool, const std::string& place,
                   Tools& tools) {
  if (tools.in_items && tools.offered.contains(function.name)) return {};
  if (tools.offered.size() >= std::size_t{kMaxTools}) {
    return bad_value("tools",
                     fmt::format("there are more than {} functions; send fewer.", kMaxTools));
  }
  if (auto added = tools.list.add(function, place); !added) return added.error();
  tools.offered.emplace(std::string(function.name), std::move(tool));
  return {};
}

Result<std::string_view> read_name(const json::object& in, const std::string& place) {
  const auto* name = in.if_contains("name");
  if (name == nullptr || !name->is_string()) {
    return bad_value(place + ".name", fmt::format("'{}.name' is missing; send a string.", place));
  }
  return view(name->get_string());
}

Result<void> read_function(const json::object& in, std::string_view name_space,
                           const std::string& place, Fields& fields) {
  const auto name = read_name(in, place);
  if (!name) return name.error();
  const std::string seen = joined_name(name_space, *name);
  ToolList::Function function{seen};
  for (const auto& member : in) {
    const std::string_view key = key_of(member);
    const json::value& said = member.value();
    if (said.is_null() || key == "type" || key == "name" || says_nothing(key)) continue;
    const std::string where = fmt::format("{}.{}", place, key);
    if (key == "description") {
      if (!said.is_string()) return wrong_type(where, "a string", said);
      function.description = view(said.get_string());
    } else if (key == "parameters") {
      if (!said.is_object()) return wrong_type(where, "a JSON schema", said);
      function.parameters = &said;
    } else if (key == "strict") {
      if (!said.is_bool()) return wrong_type(where, "true or false", said);
      function.strict = said.get_bool();
    } else if (auto refused = fields.unknown(where); !refused) {
      return refused.error();
    }
  }
  return offer(function, {std::string(name_space), std::string(*name), false}, place, fields.tools);
}

// What the model is told of the form that a custom tool's text has.
Result<std::string> read_format(const json::value& value, const std::string& place) {
  if (!value.is_object()) return wrong_type(place, "an object of type text or grammar", value);
  const json::object& in = value.get_object();
  const std::string_view type = text_in(in, "type");
  if (type == "text") return std::string();
  const std::string_view syntax = text_in(in, "syntax"), definition = text_in(in, "definition");
  if (type != "grammar" || (syntax != "lark" && syntax != "regex") || definition.empty()) {
    return bad_value(place, fmt::format("'{}' must be {{\"type\": \"text\"}}, or of type grammar "
                                        "with a syntax (lark or regex) and a definition.",
                                        place));
  }
  return fmt::format("It must match this {}:\n{}",
                     syntax == "lark" ? "Lark grammar" : "regular expression", definition);
}

// A function with one argument, whose text is given to the client as it is.
Result<void> read_custom(const json::object& in, std::string_view name_space,
                         const std::string& place, Fields& fields) {
  const auto name = read_name(in, place);
  if (!name) return name.error();
  const std::string seen = joined_name(name_space, *name);
  std::string input = "The text that the tool is given.";
  ToolList::Function function{seen};
  for (const auto& member : in) {
    const std::string_view key = key_of(member);
    const json::value& said = member.value();
    if (said.is_null() || key == "type" || key == "name" || says_nothing(key)) continue;
    const std::string where = fmt::format("{}.{}", place, key);
    if (key == "description") {
      if (!said.is_string()) return wrong_type(where, "a string", said);
      function.description = view(said.get_string());
    } else if (key == "format") {
      auto format = read_format(said, where);
      if (!format) return format.error();
      if (!format->empty()) input += " " + *format;
    } else if (auto refused = fields.unknown(where); !refused) {
      return refused.error();
    }
  }
  const json::value parameters{
      {"type", "object"},
      {"properties", {{"input", {{"type", "string"}, {"description", input}}}}},
      {"required", json::array{"input"}}};
  function.parameters = &parameters;
  return offer(function, {std::string(name_space), std::string(*name), true}, place, fields.tools);
}

Result<void> read_tool(const json::value& value, std::string_view name_space,
                       const std::string& place, Fields& fields);

Result<void> read_namespace(const json::object& in, const std::string& place, Fields& fields) {
  const auto name = read_name(in, place);
  if (!name) return name.error();
  const auto* members = in.if_contains("tools");
  if (members == nullptr || !members->is_array()) {
    return bad_value(place + ".tools",
                     fmt::format("'{}.tools' is missing; send an array of functions.", place));
  }
  for (const auto& member : in) {
    const std::string_view key = key_of(member);
    if (key == "type" || key == "name" || key == "tools" || key == "description") continue;
    if (auto refused = fields.unknown(fmt::format("{}.{}", place, key)); !refused) {
      return refused.error();
    }
  }
  const json::array& list = members->get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto read = read_tool(list[i], *name, fmt::format("{}.tools[{}]", place, i), fields);
    if (!read) return read.error();
  }
  return {};
}

Result<void> read_tool(const json::value& value, std::string_view name_space,
                       const std::string& place, Fields& fields) {
  if (!value.is_object()) return wrong_type(place, "an object of type function", value);
  const json::object& in = value.get_object();
  const std::string_view type = text_in(in, "type");
  if (type == "function") return read_function(in, name_space, place, fields);
  if (type == "custom") return read_custom(in, name_space, place, fields);
  if (type == "namespace" && name_space.empty()) return read_namespace(in, place, fields);
  if (!is_type_name(type)) {
    return bad_value(
        place + ".type",
        fmt::format("'{}.type' must be a type of tools, such as \"function\".", place));
  }
  if (std::ranges::find(fields.tools.unavailable, type) == fields.tools.unavailable.end()) {
    fields.tools.unavailable.emplace_back(type);
  }
  fields.ignored.push_back(fmt::format("{}:{}", place, type));
  return {};
}

constexpr std::string_view kChoices =
    "\"none\", \"auto\", \"required\", {\"type\": \"function\", \"name\": ...} (or custom), or "
    "{\"type\": \"allowed_tools\", ...}";

Error not_declared(const std::string& param, std::string_view name) {
  return bad_value(param, fmt::format("'{}' names '{:.100}', which no tool that was declared is "
                                      "called.",
                                      param, name));
}

// The function that {"type", "name", "namespace"?} names, by the name that the model sees.
Result<std::string> read_named(const json::object& in, const std::string& param,
                               const Tools& tools) {
  const auto name = read_name(in, param);
  if (!name) return name.error();
  std::string seen = joined_name(text_in(in, "namespace"), *name);
  if (!tools.offered.contains(seen)) return not_declared(param, seen);
  return seen;
}

Result<void> read_allowed(const json::object& in, Fields& fields) {
  const std::string_view mode = text_in(in, "mode");
  if (mode != "auto" && mode != "required") {
    return bad_value("tool_choice.mode", "'tool_choice.mode' must be \"auto\" or \"required\".");
  }
  const auto* list = in.if_contains("tools");
  if (list == nullptr || !list->is_array()) {
    return bad_value("tool_choice.tools",
                     "'tool_choice.tools' is missing; send an array of tools.");
  }
  ToolChoice& choice = fields.tool_choice;
  choice.must = mode == "required";
  for (std::size_t i = 0; i < list->get_array().size(); ++i) {
    const json::value& tool = list->get_array()[i];
    const auto param = fmt::format("tool_choice.tools[{}]", i);
    if (!tool.is_object()) return wrong_type(param, "an object with type and name", tool);
    const std::string_view type = text_in(tool.get_object(), "type");
    if (type == "namespace") {  // all of its members
      const std::string_view name_space = text_in(tool.get_object(), "name");
      const std::size_t before = choice.only.size();
      for (const auto& [seen, offered] : fields.tools.offered) {
        if (offered.name_space == name_space) choice.only.push_back(seen);
      }
      if (choice.only.size() == before) return not_declared(param, name_space);
    } else if (type == "function" || type == "custom") {
      auto name = read_named(tool.get_object(), param, fields.tools);
      if (!name) return name.error();
      choice.only.push_back(*std::move(name));
    } else if (!is_type_name(type)) {
      return bad_value(param, fmt::format("'{}.type' must be a type of tools.", param));
    }  // else a built-in tool, which is not there to be called
  }
  choice.none = choice.only.empty();
  return {};
}

}  // namespace

std::string joined_name(std::string_view name_space, std::string_view name) {
  if (name_space.empty()) return std::string(name);
  return fmt::format("{}{}{}", name_space, name_space.ends_with('_') ? "" : "__", name);
}

Result<void> read_tools(const json::value& value, const std::string& param, Fields& fields) {
  if (!value.is_array()) return wrong_type(param, "an array of tools", value);
  const json::array& list = value.get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto read = read_tool(list[i], {}, fmt::format("{}[{}]", param, i), fields);
    if (!read) return read.error();
  }
  return {};
}

Result<void> read_tool_choice(const json::value& value, Fields& fields) {
  ToolChoice& choice = fields.tool_choice;
  if (value.is_string()) {
    if (value == "none") {
      choice.none = true;
    } else if (value == "required") {
      choice.must = true;
    } else if (value != "auto") {
      return bad_value("tool_choice", fmt::format("'tool_choice' is '{:.40}'; send {}.",
                                                  view(value.get_string()), kChoices));
    }
  } else if (!value.is_object()) {
    return wrong_type("tool_choice", kChoices, value);
  } else {
    const json::object& in = value.get_object();
    const std::string_view type = text_in(in, "type");
    if (type == "allowed_tools") {
      if (auto read = read_allowed(in, fields); !read) return read.error();
    } else if (type == "function" || type == "custom") {
      auto name = read_named(in, "tool_choice", fields.tools);
      if (!name) return name.error();
      choice.must = true;
      choice.only = {*std::move(name)};
    } else {
      return bad_value("tool_choice",
                       fmt::format("'tool_choice' is of type '{:.40}', which this server cannot be "
                                   "made to call; send {}.",
                                   type, kChoices));
    }
  }
  if (choice.must && fields.tools.offered.empty()) {
    return bad_value("tool_choice",
                     "'tool_choice' asks for a call, and no functions are declared; send 'tools'.");
  }
  return {};
}

}  // namespace mlxd::api::responses
