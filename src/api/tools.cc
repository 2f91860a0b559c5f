#include "api/tools.h"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

// Only letters that no format of calls gives a meaning to.
bool is_tool_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '/';
  };
  return !name.empty() && name.size() <= kMaxToolName && std::ranges::all_of(name, fits);
}

// The types that a schema allows, kAnyJson where it does not say. References are not followed.
unsigned types_of(const json::value& schema);

unsigned type_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 7> kTypes = {
      {{"string", kJsonString},
       {"number", kJsonNumber},
       {"integer", kJsonInteger},
       {"boolean", kJsonBoolean},
       {"null", kJsonNull},
       {"object", kJsonObject},
       {"array", kJsonArray}}};
  const auto* type = std::ranges::find(kTypes, name, &std::pair<std::string_view, unsigned>::first);
  return type == kTypes.end() ? kAnyJson : type->second;
}

unsigned type_of_value(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return kJsonNull;
    case json::kind::bool_:
      return kJsonBoolean;
    case json::kind::int64:
    case json::kind::uint64:
      return kJsonInteger;
    case json::kind::double_:
      return kJsonNumber;
    case json::kind::string:
      return kJsonString;
    case json::kind::array:
      return kJsonArray;
    case json::kind::object:
      break;
  }
  return kJsonObject;
}

// Of all of a list; any where one of them is.
template <class TypesOf>
unsigned types_of_all(const json::value& list, TypesOf types) {
  if (!list.is_array()) return kAnyJson;
  unsigned all = 0;
  for (const json::value& item : list.get_array()) {
    const unsigned of_item = types(item);
    if (of_item == kAnyJson) return kAnyJson;
    all |= of_item;
  }
  return all;
}

unsigned types_of(const json::value& schema) {
  if (!schema.is_object()) return kAnyJson;
  const json::object& in = schema.get_object();
  const auto by_name = [](const json::value& name) {
    return name.is_string() ? type_named(view(name.get_string())) : unsigned{kAnyJson};
  };
  if (const auto* type = in.if_contains("type"); type != nullptr) {
    return type->is_string() ? by_name(*type) : types_of_all(*type, by_name);
  }
  if (const auto* values = in.if_contains("enum"); values != nullptr) {
    return types_of_all(*values, type_of_value);
  }
  if (const auto* value = in.if_contains("const"); value != nullptr) return type_of_value(*value);
  for (const std::string_view either : {"anyOf", "oneOf"}) {
    if (const auto* schemas = in.if_contains(either); schemas != nullptr) {
      return types_of_all(*schemas, types_of);
    }
  }
  return kAnyJson;
}

// Of a schema of strings that lists them.
std::vector<std::string> choices_of(const json::value& schema) {
  std::vector<std::string> choices;
  const auto* values = schema.get_object().if_contains("enum");
  if (values == nullptr || !values->is_array()) return choices;
  for (const json::value& value : values->get_array()) {
    if (value.is_string()) choices.emplace_back(view(value.get_string()));
  }
  return choices;
}

// `schema` is an object.
std::vector<ToolParameter> parameters_of(const json::value& schema) {
  std::vector<ToolParameter> parameters;
  const auto* properties = schema.get_object().if_contains("properties");
  if (properties == nullptr || !properties->is_object()) return parameters;
  const auto* required = schema.get_object().if_contains("required");
  const auto is_required = [&](std::string_view name) {
    return required != nullptr && required->is_array() &&
           std::ranges::any_of(required->get_array(), [&](const auto& one) {
             return one.is_string() && view(one.get_string()) == name;
           });
  };
  for (const auto& property : properties->get_object()) {
    const std::string name(property.key());
    const unsigned types = types_of(property.value());
    parameters.push_back(
        {name, types, is_required(name),
         types == kJsonString ? choices_of(property.value()) : std::vector<std::string>()});
  }
  return parameters;
}

}  // namespace

Result<void> ToolList::add(const Function& function, const std::string& place) {
  if (!is_tool_name(function.name)) {
    return bad_value(place + ".name",
                     fmt::format("'{}.name' must be 1 to {} letters, digits, or any of _ - . /.",
                                 place, kMaxToolName));
  }
  json::value parameters = json::object{{"type", "object"}, {"properties", json::object()}};
  if (function.parameters != nullptr && !function.parameters->get_object().empty()) {
    parameters = *function.parameters;
  }
  DeclaredTool declared{parameters_of(parameters), json::serialize(parameters), function.strict};
  if (!declared_->emplace(std::string(function.name), std::move(declared)).second) {
    return bad_value(place + ".name",
                     fmt::format("'{}.name' is '{}', which another function has already; give each "
                                 "a name of its own.",
                                 place, function.name));
  }
  json::object out{{"name", json::string(function.name)}};
  if (!function.description.empty()) out["description"] = function.description;
  out["parameters"] = std::move(parameters);
  tools_.push_back({{"type", "function"}, {"function", std::move(out)}});
  return {};
}

Result<void> ToolList::read(const json::value& value, const std::string& place, bool has_strict,
                            UnknownKeys& keys) {
  if (!value.is_object()) return wrong_type(place, "a function such as {\"name\": \"f\"}", value);
  Function function;
  for (const auto& member : value.get_object()) {
    const std::string_view key(member.key().data(), member.key().size());
    const json::value& said = member.value();
    if (said.is_null()) continue;
    const std::string where = fmt::format("{}.{}", place, key);
    if (key == "name") {
      if (said.is_string()) function.name = view(said.get_string());
    } else if (key == "description") {
      if (!said.is_string()) return wrong_type(where, "a string", said);
      function.description = view(said.get_string());
    } else if (key == "parameters") {
      if (!said.is_object()) return wrong_type(where, "a JSON schema", said);
      function.parameters = &said;
    } else if (key == "strict" && has_strict) {
      if (!said.is_bool()) return wrong_type(where, "true or false", said);
      function.strict = said.get_bool();
    } else if (auto refused = keys.unknown(where); !refused) {
      return refused;
    }
  }
  return add(function, place);
}

void ToolList::put_into(ChatPrompt& chat) {
  if (tools_.empty()) return;
  chat.tools_json = json::serialize(tools_);
  chat.tools = std::move(declared_);
}

}  // namespace mlxd::api
