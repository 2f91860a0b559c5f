// Tools, what may be called of them, and what else a chat template is told beside the messages.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/openai/read_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

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

ParameterTypes parameter_types(const json::value& schema) {
  ParameterTypes types;
  const auto* properties = schema.get_object().if_contains("properties");
  if (properties == nullptr || !properties->is_object()) return types;
  for (const auto& property : properties->get_object()) {
    types.emplace(std::string(property.key()), types_of(property.value()));
  }
  return types;
}

// One declared function at `place`, in the form and the order of keys that transformers gives to
// templates. `strict` is no word of the template's.
Result<json::value> read_function(const json::value& value, const std::string& place,
                                  DeclaredTools& declared, RequestFields& fields) {
  if (!value.is_object()) return wrong_type(place, "a function such as {\"name\": \"f\"}", value);
  const json::object& in = value.get_object();
  const auto* name = in.if_contains("name");
  if (name == nullptr || !name->is_string() || !is_tool_name(view(name->get_string()))) {
    return bad_value(place + ".name",
                     fmt::format("'{}.name' must be 1 to {} letters, digits, or any of _ - . /.",
                                 place, kMaxToolName));
  }
  json::object out{{"name", *name}};
  json::value parameters = json::object{{"type", "object"}, {"properties", json::object()}};
  for (const auto& member : in) {
    const std::string_view key(member.key().data(), member.key().size());
    const json::value& said = member.value();
    if (key == "name" || said.is_null()) continue;
    const std::string where = fmt::format("{}.{}", place, key);
    if (key == "description") {
      if (!said.is_string()) return wrong_type(where, "a string", said);
      out["description"] = said;
    } else if (key == "parameters") {
      if (!said.is_object()) return wrong_type(where, "a JSON schema", said);
      if (!said.get_object().empty()) parameters = said;
    } else if (key == "strict") {
      if (!said.is_bool()) return wrong_type(where, "true or false", said);
    } else if (auto refused = fields.unknown(where); !refused) {
      return refused.error();
    }
  }
  const bool is_new =
      declared.emplace(std::string(view(name->get_string())), parameter_types(parameters)).second;
  if (!is_new) {
    return bad_value(place + ".name", fmt::format("'{}.name' is '{}', which another function has "
                                                  "already; give each a name of its own.",
                                                  place, view(name->get_string())));
  }
  out["parameters"] = std::move(parameters);
  return json::value{{"type", "function"}, {"function", std::move(out)}};
}

Result<const json::value*> function_of_tool(const json::value& tool, const std::string& place) {
  if (!tool.is_object()) return wrong_type(place, "an object of type function", tool);
  const auto* type = tool.get_object().if_contains("type");
  if (type == nullptr || !type->is_string()) {
    return bad_value(place + ".type",
                     fmt::format("'{}.type' is missing; send \"function\".", place));
  }
  if (type->get_string() != "function") {
    Error error = bad_value(place + ".type",
                            fmt::format("'{}.type' is '{:.40}', which this endpoint does not have; "
                                        "send \"function\".",
                                        place, view(type->get_string())));
    error.code = "unsupported_tool";
    return error;
  }
  const auto* function = tool.get_object().if_contains("function");
  if (function == nullptr) {
    return bad_value(place + ".function",
                     fmt::format("'{}.function' is missing; send its name and parameters.", place));
  }
  return function;
}

Result<void> read_list(const json::value& value, std::string_view param, bool wrapped,
                       RequestFields& fields) {
  if (!value.is_array()) return wrong_type(param, "an array of up to 256 functions", value);
  const json::array& list = value.get_array();
  if (list.empty()) return {};
  if (fields.chat.tools) {
    return bad_value(std::string(param),
                     "'tools' and 'functions' mean the same; send one of them.");
  }
  if (list.size() > kMaxTools) {
    return bad_value(std::string(param), fmt::format("'{}' has {} entries; send at most {}.", param,
                                                     list.size(), kMaxTools));
  }
  json::array tools;
  auto declared = std::make_shared<DeclaredTools>();
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::string place = fmt::format("{}[{}]", param, i);
    const json::value* function = &list[i];
    if (wrapped) {
      const auto inside = function_of_tool(list[i], place);
      if (!inside) return inside.error();
      function = *inside;
      place += ".function";
    }
    auto tool = read_function(*function, place, *declared, fields);
    if (!tool) return tool.error();
    tools.push_back(*std::move(tool));
  }
  fields.chat.tools_json = json::serialize(tools);
  fields.chat.tools = std::move(declared);
  return {};
}

constexpr std::string_view kChoices =
    "\"none\", \"auto\", \"required\", or {\"type\": \"function\", \"function\": {\"name\": ...}}";

// The name in {"name": "f"}, or in {"type": "function", "function": {"name": "f"}}.
const json::string* name_in(const json::value* value) {
  if (value == nullptr || !value->is_object()) return nullptr;
  const auto* name = value->get_object().if_contains("name");
  return name == nullptr ? nullptr : name->if_string();
}

Result<void> read_allowed(const json::value* allowed, ToolChoice& choice) {
  const auto* list = allowed != nullptr && allowed->is_object()
                         ? allowed->get_object().if_contains("tools")
                         : nullptr;
  if (list == nullptr || !list->is_array()) {
    return bad_value("tool_choice.allowed_tools",
                     "'tool_choice.allowed_tools' must be an object with 'mode' and 'tools'.");
  }
  choice.mode = ToolChoice::Mode::allowed;
  for (const json::value& tool : list->get_array()) {
    const auto* name =
        name_in(tool.is_object() ? tool.get_object().if_contains("function") : nullptr);
    if (name == nullptr) {
      return bad_value("tool_choice.allowed_tools.tools",
                       "every entry of 'tool_choice.allowed_tools.tools' must be {\"type\": "
                       "\"function\", \"function\": {\"name\": ...}}.");
    }
    choice.functions.emplace_back(view(*name));
  }
  return {};
}

// Whether calls can be made as the request wants them.
Result<void> check_choice(const RequestFields& fields) {
  const ToolChoice& choice = fields.tool_choice;
  const std::string param(choice.parameter);
  for (const std::string& name : choice.functions) {
    if (!fields.chat.tools || !fields.chat.tools->contains(name)) {
      return bad_value(param, fmt::format("'{}' names '{:.100}', which no function that was "
                                          "declared is called.",
                                          param, name));
    }
  }
  if (choice.mode == ToolChoice::Mode::none || choice.mode == ToolChoice::Mode::automatic) {
    return {};
  }
  Error error = bad_value(
      param, fmt::format("'{}' forces calls, which this server cannot yet; send \"auto\" or "
                         "\"none\".",
                         param));
  error.code = "unsupported_parameter";
  return error;
}

// Templates know thinking under several names; a client's own variables come first.
json::object arguments_of(RequestFields& fields) {
  json::object arguments;
  std::optional<bool> thinks = fields.enable_thinking;
  if (!fields.reasoning_effort.empty()) {
    if (!thinks) thinks = fields.reasoning_effort != "none";
    if (*thinks) arguments["reasoning_effort"] = fields.reasoning_effort;
  }
  if (thinks) {
    arguments["enable_thinking"] = *thinks;
    arguments["thinking"] = *thinks;
  }
  for (auto& member : fields.template_arguments)
    arguments[member.key()] = std::move(member.value());
  return arguments;
}

}  // namespace

Result<void> read_tools(const json::value& value, RequestFields& fields) {
  return read_list(value, "tools", true, fields);
}

Result<void> read_functions(const json::value& value, RequestFields& fields) {
  if (auto read = read_list(value, "functions", false, fields); !read) return read.error();
  fields.legacy_functions = fields.chat.tools != nullptr;
  return {};
}

Result<void> read_tool_choice(const json::value& value, RequestFields& fields) {
  ToolChoice& choice = fields.tool_choice;
  if (const auto* word = value.if_string(); word != nullptr) {
    if (*word == "none") {
      choice.mode = ToolChoice::Mode::none;
    } else if (*word == "required") {
      choice.mode = ToolChoice::Mode::required;
    } else if (*word != "auto") {
      return bad_value("tool_choice",
                       fmt::format("'tool_choice' is '{:.40}'; send {}.", view(*word), kChoices));
    }
    return {};
  }
  if (!value.is_object()) return wrong_type("tool_choice", kChoices, value);
  const json::object& in = value.get_object();
  const auto* type = in.if_contains("type");
  if (type != nullptr && *type == "allowed_tools") {
    return read_allowed(in.if_contains("allowed_tools"), choice);
  }
  const auto* name = name_in(in.if_contains("function"));
  if (type == nullptr || *type != "function" || name == nullptr) {
    return bad_value("tool_choice", fmt::format("'tool_choice' must be {}.", kChoices));
  }
  choice.mode = ToolChoice::Mode::function;
  choice.functions = {std::string(view(*name))};
  return {};
}

Result<void> read_function_call(const json::value& value, RequestFields& fields) {
  ToolChoice& choice = fields.tool_choice;
  choice.parameter = "function_call";
  if (value == "none") {
    choice.mode = ToolChoice::Mode::none;
  } else if (const auto* name = name_in(&value); name != nullptr) {
    choice.mode = ToolChoice::Mode::function;
    choice.functions = {std::string(view(*name))};
  } else if (value != "auto") {
    return bad_value("function_call",
                     "'function_call' must be \"none\", \"auto\" or {\"name\": ...}.");
  }
  return {};
}

Result<void> read_documents(const json::value& value, RequestFields& fields) {
  const bool fits = value.is_array() && std::ranges::all_of(value.get_array(), [](const auto& one) {
                      return one.is_object();
                    });
  if (!fits) return wrong_type("documents", "an array of objects", value);
  if (!value.get_array().empty()) fields.chat.documents_json = json::serialize(value);
  return {};
}

Result<void> read_template_arguments(const json::value& value, RequestFields& fields) {
  if (!value.is_object()) return wrong_type("chat_template_kwargs", "an object", value);
  for (const std::string_view own : {"messages", "tools", "documents", "add_generation_prompt"}) {
    if (value.get_object().contains(own)) {
      return bad_value("chat_template_kwargs",
                       fmt::format("'chat_template_kwargs' has '{}', which is a parameter of its "
                                   "own; send it there.",
                                   own));
    }
  }
  fields.template_arguments = value.get_object();
  return {};
}

Result<void> read_reasoning_effort(const json::value& value, RequestFields& fields) {
  constexpr std::array kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
  const bool known = std::ranges::any_of(kEfforts, [&](const char* one) { return value == one; });
  if (!known) {
    return bad_value("reasoning_effort",
                     "'reasoning_effort' must be none, minimal, low, medium, high, xhigh or max.");
  }
  fields.reasoning_effort = view(value.get_string());
  return {};
}

Result<void> read_enable_thinking(const json::value& value, RequestFields& fields) {
  if (!value.is_bool()) return wrong_type("enable_thinking", "true or false", value);
  fields.enable_thinking = value.get_bool();
  return {};
}

Result<void> settle_chat(RequestFields& fields) {
  if (auto checked = check_choice(fields); !checked) return checked.error();
  if (fields.tool_choice.mode == ToolChoice::Mode::none) {  // the model is not told of any
    fields.chat.tools_json.clear();
    fields.chat.tools.reset();
  }
  fields.text.one_call = !fields.parallel_calls || fields.legacy_functions;
  const json::object arguments = arguments_of(fields);
  if (!arguments.empty()) fields.chat.template_arguments_json = json::serialize(arguments);
  fields.prompts.emplace_back(std::move(fields.chat));
  return {};
}

}  // namespace mlxd::api
