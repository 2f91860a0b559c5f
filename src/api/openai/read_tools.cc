// Tools, what may be called of them, and what else a chat template is told beside the messages.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/openai/read_values.h"
#include "api/request_parts.h"
#include "api/tools.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

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
  ToolList tools;
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::string place = fmt::format("{}[{}]", param, i);
    const json::value* function = &list[i];
    if (wrapped) {
      const auto inside = function_of_tool(list[i], place);
      if (!inside) return inside.error();
      function = *inside;
      place += ".function";
    }
    if (auto read = tools.read(*function, place, true, fields); !read) return read.error();
  }
  tools.put_into(fields.chat);
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
  if (list == nullptr || !list->is_array() || list->get_array().empty()) {
    return bad_value(
        "tool_choice.allowed_tools",
        "'tool_choice.allowed_tools' must be an object with 'mode' and 'tools', one at "
        "least.");
  }
  const auto* mode = allowed->get_object().if_contains("mode");
  if (mode != nullptr && *mode != "auto" && *mode != "required") {
    return bad_value("tool_choice.allowed_tools.mode",
                     "'tool_choice.allowed_tools.mode' must be \"auto\" or \"required\".");
  }
  choice.must = mode != nullptr && *mode == "required";
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

// What the answer may and must call.
Result<CallRule> call_rule(const RequestFields& fields) {
  const ToolChoice& choice = fields.tool_choice;
  const std::string param(choice.parameter);
  for (const std::string& name : choice.functions) {
    if (!fields.chat.tools || !fields.chat.tools->contains(name)) {
      return bad_value(param, fmt::format("'{}' names '{:.100}', which no function that was "
                                          "declared is called.",
                                          param, name));
    }
  }
  CallRule rule;
  rule.must = choice.must;
  rule.only = choice.functions;
  const bool is_named = choice.must && choice.functions.size() == 1;
  rule.at_most_one = !fields.parallel_calls || fields.legacy_functions || is_named;
  rule.param = param;
  if (rule.must && !fields.chat.tools) {
    return bad_value(param, fmt::format("'{}' asks for a call, and no functions are declared; send "
                                        "'tools'.",
                                        param));
  }
  return rule;
}

// A client's own variables come first.
json::object arguments_of(RequestFields& fields) {
  json::object arguments = thinking_arguments(fields.reasoning_effort, fields.enable_thinking);
  for (auto& member : fields.template_arguments)
    arguments[member.key()] = std::move(member.value());
  return arguments;
}

Result<void> read_effort(const std::string& name, const json::value& value, RequestFields& fields) {
  if (!value.is_string() || !is_reasoning_effort(view(value.get_string()))) {
    return bad_value(
        name, fmt::format("'{}' must be none, minimal, low, medium, high, xhigh or max.", name));
  }
  fields.reasoning_effort = view(value.get_string());
  return {};
}

Result<void> read_thinks(const std::string& name, const json::value& value, RequestFields& fields) {
  if (!value.is_bool()) return wrong_type(name, "true or false", value);
  fields.enable_thinking = value.get_bool();
  return {};
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
      choice.none = true;
    } else if (*word == "required") {
      choice.must = true;
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
  choice.must = true;
  choice.functions = {std::string(view(*name))};
  return {};
}

Result<void> read_function_call(const json::value& value, RequestFields& fields) {
  ToolChoice& choice = fields.tool_choice;
  choice.parameter = "function_call";
  if (value == "none") {
    choice.none = true;
  } else if (const auto* name = name_in(&value); name != nullptr) {
    choice.must = true;
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
  return read_effort("reasoning_effort", value, fields);
}

Result<void> read_enable_thinking(const json::value& value, RequestFields& fields) {
  return read_thinks("enable_thinking", value, fields);
}

Result<void> read_reasoning_budget(const std::string& name, const json::value& value,
                                   RequestFields& fields) {
  const auto tokens = value.is_number() ? as_integer(value) : std::nullopt;
  if (!tokens || *tokens < -1 || *tokens > std::numeric_limits<int>::max()) {
    return bad_value(name, fmt::format("'{}' must be a number of tokens, or -1 for any.", name));
  }
  if (fields.text.reasoning) {
    return bad_value(name, fmt::format("'{}' and '{}' both bound the reasoning; send one of them.",
                                       fields.text.reasoning->param, name));
  }
  if (*tokens >= 0) fields.text.reasoning = {static_cast<int>(*tokens), name};
  return {};
}

// OpenRouter's spelling.
Result<void> read_reasoning(const json::value& value, RequestFields& fields) {
  if (!value.is_object())
    return wrong_type("reasoning", "an object with effort or max_tokens", value);
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_null()) continue;
    const std::string name = "reasoning." + std::string(key.data(), key.size());
    Result<void> read;
    if (key == "effort") {
      read = read_effort(name, member, fields);
    } else if (key == "enabled") {
      read = read_thinks(name, member, fields);
    } else if (key == "max_tokens") {
      read = read_reasoning_budget(name, member, fields);
    } else if (key != "exclude" || member != false) {  // it is always shown
      read = fields.unknown(name);
    }
    if (!read) return read;
  }
  return {};
}

Result<void> settle_chat(RequestFields& fields) {
  auto rule = call_rule(fields);
  if (!rule) return rule.error();
  fields.text.calls = *std::move(rule);
  if (fields.tool_choice.none) {  // the model is not told of any
    fields.chat.tools_json.clear();
    fields.chat.tools.reset();
  }
  const json::object arguments = arguments_of(fields);
  if (!arguments.empty()) fields.chat.template_arguments_json = json::serialize(arguments);
  fields.prompts.emplace_back(std::move(fields.chat));
  return {};
}

}  // namespace mlxd::api
