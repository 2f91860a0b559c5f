// The messages of a chat, brought to the form that OpenAI's wire has. There a call and its result
// have an id in common; here a result names the tool, if anything, and so gets the id of the first
// call of that tool that has no result yet.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/ollama/read_values.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxMessages = 1024;

// The calls of the conversation so far that have no result.
class OpenCalls {
 public:
  struct Call {
    std::string id, name;
  };

  // Nine letters and digits, as some templates want it.
  std::string make_id() { return fmt::format("call{:05}", made_++); }
  void add(Call call) { calls_.push_back(std::move(call)); }

  // Of the result of a tool ("": it does not say which); one that nobody called has an id too.
  Call answer(std::string_view name) {
    const auto call = std::ranges::find_if(
        calls_, [&](const Call& each) { return name.empty() || each.name == name; });
    if (call == calls_.end()) return {make_id(), std::string(name)};
    Call found = std::move(*call);
    calls_.erase(call);
    return found;
  }
  void remove(std::string_view id) {
    std::erase_if(calls_, [&](const Call& each) { return each.id == id; });
  }

 private:
  std::vector<Call> calls_;
  int made_ = 0;
};

// One message on its way; `place` is "messages[i]".
struct Message {
  std::string place;
  Fields& fields;
  OpenCalls& calls;
  std::string_view role = {};
  std::string_view tool_name = {}, tool_call_id = {};
  json::object out = {};

  std::string at(std::string_view member) const { return fmt::format("{}.{}", place, member); }
};

Result<void> read_role(const json::object& in, Message& message) {
  constexpr std::string_view kWanted = "system, user, assistant or tool";
  const auto* role = in.if_contains("role");
  const auto param = message.at("role");
  if (role == nullptr || !role->is_string()) {
    return bad_value(param, fmt::format("'{}' is missing; send {}.", param, kWanted));
  }
  message.role = view(role->get_string());
  for (const std::string_view known : {"system", "user", "assistant", "tool"}) {
    if (message.role == known) {
      message.out["role"] = known;
      return {};
    }
  }
  return bad_value(param, fmt::format("'{}' is '{:.40}'; send {}.", param, message.role, kWanted));
}

// {"function": {"name", "arguments"}}, and in later versions an id.
Result<void> read_tool_call(const json::value& value, const std::string& place, Message& message,
                            json::array& calls) {
  if (!value.is_object()) return wrong_type(place, "an object with 'function'", value);
  const json::object& in = value.get_object();
  const auto* function = in.if_contains("function");
  if (function == nullptr || !function->is_object()) {
    return bad_value(place + ".function",
                     fmt::format("'{}.function' is missing; send its name and arguments.", place));
  }
  const auto* name = function->get_object().if_contains("name");
  if (name == nullptr || !name->is_string()) {
    return bad_value(place + ".function.name",
                     fmt::format("'{}.function.name' is missing; send a string.", place));
  }
  json::value arguments = json::object();
  if (const auto* sent = function->get_object().if_contains("arguments");
      sent != nullptr && !sent->is_null()) {
    if (!sent->is_object()) return wrong_type(place + ".function.arguments", "an object", *sent);
    arguments = *sent;
  }
  OpenCalls::Call call{{}, std::string(name->get_string())};
  if (const auto* id = in.if_contains("id"); id != nullptr && id->is_string()) {
    call.id = std::string(id->get_string());
  }
  if (call.id.empty()) call.id = message.calls.make_id();
  calls.push_back({{"id", call.id},
                   {"type", "function"},
                   {"function", {{"name", call.name}, {"arguments", std::move(arguments)}}}});
  message.calls.add(std::move(call));
  return {};
}

Result<void> read_tool_calls(const json::value& value, Message& message) {
  const auto param = message.at("tool_calls");
  if (!value.is_array()) return wrong_type(param, "an array", value);
  json::array calls;
  for (std::size_t i = 0; i < value.get_array().size(); ++i) {
    auto read =
        read_tool_call(value.get_array()[i], fmt::format("{}[{}]", param, i), message, calls);
    if (!read) return read;
  }
  if (!calls.empty()) message.out["tool_calls"] = std::move(calls);
  return {};
}

Result<void> refuse_images(const json::value& value, const std::string& param) {
  if (value.is_array() && value.get_array().empty()) return {};
  Error error =
      bad_value(param, fmt::format("'{}' is not supported by this server; send text.", param));
  error.code = "unsupported_content";
  return error;
}

// What stands beside the role.
Result<void> read_member(std::string_view key, const json::value& value, Message& message) {
  const bool assistant = message.role == "assistant";
  const bool tool = message.role == "tool";
  if (key == "images") return refuse_images(value, message.at(key));
  if (assistant && key == "tool_calls") return read_tool_calls(value, message);
  const bool text = key == "content" || (assistant && key == "thinking") ||
                    (tool && (key == "tool_name" || key == "name" || key == "tool_call_id"));
  if (!text) return message.fields.unknown(message.at(key));
  if (!value.is_string()) return wrong_type(message.at(key), "a string", value);
  if (key == "content") {
    message.out["content"] = value;
  } else if (key == "thinking") {
    if (!value.get_string().empty()) message.out["reasoning_content"] = value;
  } else if (key == "tool_call_id") {
    message.tool_call_id = view(value.get_string());
  } else {
    message.tool_name = view(value.get_string());
  }
  return {};
}

// The names by which a template may tell whose result it is.
void name_call(Message& message) {
  OpenCalls::Call call{std::string(message.tool_call_id), std::string(message.tool_name)};
  if (call.id.empty()) {
    call = message.calls.answer(message.tool_name);
  } else {
    message.calls.remove(call.id);
  }
  message.out["tool_call_id"] = call.id;
  if (!call.name.empty()) message.out["name"] = call.name;
}

Result<json::value> read_message(const json::value& value, Message message) {
  if (!value.is_object()) {
    return wrong_type(message.place, "an object such as {\"role\": \"user\", \"content\": \"...\"}",
                      value);
  }
  if (auto read = read_role(value.get_object(), message); !read) return read.error();
  for (const auto& member : value.get_object()) {
    const std::string_view key(member.key().data(), member.key().size());
    if (key == "role" || member.value().is_null()) continue;
    if (auto read = read_member(key, member.value(), message); !read) return read.error();
  }
  if (message.role == "tool") name_call(message);
  json::object& out = message.out;
  const bool calls = out.contains("tool_calls");
  if (!out.contains("content")) out["content"] = "";
  if (calls && out["content"] == "") out["content"] = nullptr;
  return json::value(std::move(out));
}

}  // namespace

Result<void> read_messages(const json::value& value, Fields& fields) {
  if (!value.is_array()) return wrong_type("messages", "an array of messages", value);
  const auto& list = value.get_array();
  if (list.size() > kMaxMessages) {
    return bad_value("messages", fmt::format("'messages' has {} entries; send at most {}.",
                                             list.size(), kMaxMessages));
  }
  if (list.empty()) return {};
  OpenCalls calls;
  json::array messages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto message = read_message(list[i], {fmt::format("messages[{}]", i), fields, calls});
    if (!message) return message.error();
    messages.push_back(*std::move(message));
  }
  fields.chat.messages_json = json::serialize(messages);
  return {};
}

}  // namespace mlxd::api::ollama
