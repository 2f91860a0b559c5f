// The messages of a chat: checked, and without what says nothing to a chat template. Which form of
// them a template reads is known to text/ChatTemplate alone.
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_values.h"
#include "api/openai/read_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

// One message on its way; `place` is "messages[i]".
struct Message {
  std::string place;
  std::string_view role;
  RequestFields& fields;
  json::object out;

  std::string at(std::string_view member) const { return fmt::format("{}.{}", place, member); }
  // A turn that a model or a tool took may be without words.
  bool may_be_empty() const { return role == "assistant" || role == "tool"; }
};

// A legacy `function_call` has no id: it and its result are known by this one.
constexpr std::string_view kLegacyCall = "function0";

Result<void> read_role(const json::object& in, Message& message) {
  constexpr std::string_view kWanted = "system, developer, user, assistant or tool";
  const auto* role = in.if_contains("role");
  const auto param = message.at("role");
  if (role == nullptr) {
    return bad_value(param, fmt::format("'{}' is missing; send {}.", param, kWanted));
  }
  if (!role->is_string()) return wrong_type(param, kWanted, *role);
  message.role = view(role->get_string());
  if (message.role == "function") {  // before there were tools
    message.role = "tool";
    message.out["tool_call_id"] = kLegacyCall;
  }
  if (message.role != "system" && message.role != "developer" && message.role != "user" &&
      message.role != "assistant" && message.role != "tool") {
    return bad_value(param,
                     fmt::format("'{}' is '{:.40}'; send {}.", param, message.role, kWanted));
  }
  message.out["role"] = message.role;
  return {};
}

// The text of one content part.
Result<std::string> read_part(const json::value& part, const std::string& place, Message& message) {
  if (!part.is_object()) return wrong_type(place, "a part such as {\"type\": \"text\"}", part);
  const auto& in = part.get_object();
  const auto* type = in.if_contains("type");
  if (type == nullptr || !type->is_string()) {
    return bad_value(place + ".type", fmt::format("'{}.type' is missing; send \"text\".", place));
  }
  const auto kind = view(type->get_string());
  const bool refusal = kind == "refusal" && message.role == "assistant";
  if (kind != "text" && !refusal) {
    Error error = bad_value(
        place + ".type", fmt::format("'{}' is of type '{:.40}', which is not supported; send text "
                                     "parts.",
                                     place, kind));
    error.code = "unsupported_content";
    return error;
  }
  const auto* text = in.if_contains(kind);
  const auto text_place = fmt::format("{}.{}", place, kind);
  if (text == nullptr || !text->is_string()) {
    return bad_value(text_place, fmt::format("'{}' is missing; send a string.", text_place));
  }
  for (const auto& member : in) {
    const std::string_view key(member.key().data(), member.key().size());
    if (key == "type" || key == kind || member.value().is_null()) continue;
    if (auto refused = message.fields.unknown(fmt::format("{}.{}", place, key)); !refused) {
      return refused.error();
    }
  }
  return std::string(view(text->get_string()));
}

Result<json::value> read_content(const json::value& content, Message& message) {
  const auto param = message.at("content");
  if (content.is_string()) return content;
  if (!content.is_array()) return wrong_type(param, "a string or an array of text parts", content);
  const auto& parts = content.get_array();
  if (parts.empty()) {
    if (message.may_be_empty()) return json::value("");
    return bad_value(param,
                     fmt::format("'{}' is an empty array; send a string or text parts.", param));
  }
  json::array out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto part = read_part(parts[i], fmt::format("{}[{}]", param, i), message);
    if (!part) return part.error();
    out.push_back({{"type", "text"}, {"text", *std::move(part)}});
  }
  return json::value(std::move(out));
}

// {"name", "arguments"}. The arguments are JSON in a string, or what a model wrote for it: empty
// and broken ones are a part of the history like others.
Result<json::value> read_called(const json::value* function, const std::string& place) {
  if (function == nullptr || !function->is_object()) {
    return bad_value(place, fmt::format("'{}' is missing; send its name and arguments.", place));
  }
  const json::object& in = function->get_object();
  const auto* name = in.if_contains("name");
  if (name == nullptr || !name->is_string()) {
    return bad_value(place + ".name", fmt::format("'{}.name' is missing; send a string.", place));
  }
  json::object out{{"name", *name}, {"arguments", ""}};
  if (const auto* arguments = in.if_contains("arguments");
      arguments != nullptr && !arguments->is_null()) {
    if (!arguments->is_string() && !arguments->is_object()) {
      return wrong_type(place + ".arguments", "JSON in a string", *arguments);
    }
    out["arguments"] = *arguments;
  }
  return json::value(std::move(out));
}

// What of a call says something to a template.
Result<json::value> read_tool_call(const json::value& call, const std::string& place) {
  if (!call.is_object()) return wrong_type(place, "an object", call);
  const json::object& in = call.get_object();
  auto function = read_called(in.if_contains("function"), place + ".function");
  if (!function) return function.error();
  json::object out;
  if (const auto* id = in.if_contains("id"); id != nullptr && !id->is_null()) {
    if (!id->is_string()) return wrong_type(place + ".id", "a string", *id);
    out["id"] = *id;
  }
  out["type"] = "function";
  out["function"] = *std::move(function);
  return json::value(std::move(out));
}

Result<void> read_tool_calls(const json::value& calls, Message& message) {
  const auto param = message.at("tool_calls");
  if (!calls.is_array()) return wrong_type(param, "an array", calls);
  json::array out;
  for (std::size_t i = 0; i < calls.get_array().size(); ++i) {
    auto call = read_tool_call(calls.get_array()[i], fmt::format("{}[{}]", param, i));
    if (!call) return call.error();
    out.push_back(*std::move(call));
  }
  if (!out.empty()) message.out["tool_calls"] = std::move(out);
  return {};
}

// What stands beside role and content. Answers that clients send back carry `annotations` and
// `refusal`, which say nothing to a template.
Result<void> read_member(std::string_view key, const json::value& value, Message& message) {
  const bool assistant = message.role == "assistant";
  const bool text = key == "name" || (key == "tool_call_id" && message.role == "tool") ||
                    (key == "reasoning_content" && assistant);
  // Answers have the reasoning under both names.
  if (assistant && key == "reasoning") {
    if (!value.is_string()) return wrong_type(message.at(key), "a string", value);
    if (!message.out.contains("reasoning_content")) message.out["reasoning_content"] = value;
    return {};
  }
  if (text) {
    if (!value.is_string()) return wrong_type(message.at(key), "a string", value);
    message.out[key] = value.get_string();
    return {};
  }
  if (assistant && key == "tool_calls") return read_tool_calls(value, message);
  if (assistant && key == "function_call") {
    auto function = read_called(&value, message.at(key));
    if (!function) return function.error();
    message.out["tool_calls"] = {
        {{"id", kLegacyCall}, {"type", "function"}, {"function", *std::move(function)}}};
    return {};
  }
  if (assistant && key == "refusal") {
    if (!value.is_string()) return wrong_type(message.at(key), "a string", value);
    if (!message.out.contains("content")) message.out["content"] = value.get_string();
    return {};
  }
  if (assistant && key == "annotations" && value.is_array()) return {};
  return message.fields.unknown(message.at(key));
}

Result<json::value> read_message(const json::value& value, std::string place,
                                 RequestFields& fields) {
  if (!value.is_object()) {
    return wrong_type(place, "an object such as {\"role\": \"user\", \"content\": \"...\"}", value);
  }
  const auto& in = value.get_object();
  Message message{std::move(place), {}, fields, {}};
  if (auto read = read_role(in, message); !read) return read.error();
  if (const auto* content = in.if_contains("content"); content != nullptr && !content->is_null()) {
    auto read = read_content(*content, message);
    if (!read) return read.error();
    message.out["content"] = *std::move(read);
  }
  for (const auto& member : in) {
    const std::string_view key(member.key().data(), member.key().size());
    if (key == "role" || key == "content" || member.value().is_null()) continue;
    if (auto read = read_member(key, member.value(), message); !read) return read.error();
  }
  if (!message.out.contains("content")) {
    if (!message.may_be_empty()) {
      const auto param = message.at("content");
      return bad_value(param, fmt::format("'{}' is missing; send a string.", param));
    }
    const bool calls = message.out.contains("tool_calls");
    message.out["content"] = calls ? json::value(nullptr) : json::value("");
  }
  return json::value(std::move(message.out));
}

}  // namespace

Result<void> read_messages(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted = "an array of 1 to 1024 messages";
  if (!value.is_array()) return wrong_type("messages", kWanted, value);
  const auto& list = value.get_array();
  if (list.empty() || list.size() > kMaxMessages) {
    return bad_value("messages",
                     fmt::format("'messages' has {} entries; send {}.", list.size(), kWanted));
  }
  json::array messages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto message = read_message(list[i], fmt::format("messages[{}]", i), fields);
    if (!message) return message.error();
    messages.push_back(*std::move(message));
  }
  fields.chat.messages_json = json::serialize(messages);
  return {};
}

}  // namespace mlxd::api
