// The types of items that a conversation has, and what each is to a model.
#include "api/responses/read_item.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/responses/conversation.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

Error missing(const std::string& place, std::string_view key, std::string_view wanted) {
  return bad_value(fmt::format("{}.{}", place, key),
                   fmt::format("'{}.{}' is missing; send {}.", place, key, wanted));
}

Error not_supported(const std::string& place, std::string_view type, std::string_view wanted) {
  Error error = bad_value(place + ".type", fmt::format("'{}' is of type '{:.40}', which is not "
                                                       "supported; send {}.",
                                                       place, type, wanted));
  error.code = "unsupported_content";
  return error;
}

// One item on its way; `place` is "input[i]".
struct Item {
  const json::object& in;
  std::string place;
  Conversation& conversation;
  Fields& fields;

  // Null where there is none, or it is null.
  const json::value* find(std::string_view key) const {
    const auto* value = in.if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  Result<std::string_view> text(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) return missing(place, key, "a string");
    if (!value->is_string())
      return wrong_type(fmt::format("{}.{}", place, key), "a string", *value);
    return view(value->get_string());
  }
  // "" where there is none.
  Result<std::string_view> optional_text(std::string_view key) const {
    return find(key) == nullptr ? Result<std::string_view>(std::string_view{}) : text(key);
  }
};

// Members of all types that say nothing to a model: of the answer that an item came from, of the
// SDKs' parsed forms and of Codex.
constexpr std::string_view kCommonKeys =
    "type id status phase caller async created_by metadata end_turn parsed parsed_arguments "
    "internal_chat_message_metadata_passthrough";

bool has_word(std::string_view words, std::string_view word) {
  if (word.find(' ') != std::string_view::npos) return false;
  for (std::size_t at = words.find(word); at != std::string_view::npos;
       at = words.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) {
      return true;
    }
  }
  return false;
}

// Of a part; the others say nothing to a model.
constexpr std::string_view kPartKeys =
    "type text refusal annotations logprobs parsed prompt_cache_breakpoint";

// The texts of an array of parts of `types` at the item's `member`.
Result<std::vector<std::string>> read_parts(const json::value& value, const Item& item,
                                            std::string_view member,
                                            std::span<const std::string_view> types) {
  const std::string place = fmt::format("{}.{}", item.place, member);
  if (!value.is_array()) return wrong_type(place, "a string or an array of text parts", value);
  std::vector<std::string> texts;
  const json::array& parts = value.get_array();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string at = fmt::format("{}[{}]", place, i);
    if (!parts[i].is_object()) return wrong_type(at, "a text part", parts[i]);
    const json::object& part = parts[i].get_object();
    const auto* type = part.if_contains("type");
    if (type == nullptr || !type->is_string()) {
      return missing(at, "type", fmt::format("\"{}\"", types.front()));
    }
    const std::string_view kind = view(type->get_string());
    if (std::ranges::find(types, kind) == types.end()) {
      return not_supported(at, kind, fmt::format("{} parts", types.front()));
    }
    if (kind == "encrypted_content") continue;  // nobody but its server can read it
    const std::string_view key = kind == "refusal" ? "refusal" : "text";
    const auto* text = part.if_contains(key);
    if (text == nullptr || !text->is_string()) return missing(at, key, "a string");
    for (const auto& said : part) {
      const std::string_view name(said.key().data(), said.key().size());
      if (said.value().is_null() || has_word(kPartKeys, name)) continue;
      auto known = item.fields.unknown(fmt::format("{}.{}", at, name));
      if (!known) return known.error();
    }
    texts.emplace_back(view(text->get_string()));
  }
  return texts;
}

std::string lines_of(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts) all += (&text == &texts.front() ? "" : "\n") + text;
  return all;
}

// As a chat's message has it: a string, or several text parts.
json::value content_of(std::vector<std::string> texts) {
  if (texts.empty()) return "";
  if (texts.size() == 1) return json::value(std::move(texts.front()));
  json::array parts;
  for (auto& text : texts) parts.push_back({{"type", "text"}, {"text", std::move(text)}});
  return parts;
}

constexpr std::array<std::string_view, 3> kInputParts = {"input_text", "text", "output_text"};
constexpr std::array<std::string_view, 4> kAssistantParts = {"output_text", "refusal", "text",
                                                             "input_text"};
constexpr std::array<std::string_view, 3> kReasoningParts = {"reasoning_text", "text",
                                                             "encrypted_content"};
constexpr std::array<std::string_view, 1> kSummaryParts = {"summary_text"};

Result<void> read_message(Item& item) {
  const auto role = item.text("role");
  if (!role) return role.error();
  const bool assistant = *role == "assistant";
  if (!assistant && *role != "user" && *role != "system" && *role != "developer") {
    return bad_value(
        item.place + ".role",
        fmt::format("'{}.role' is '{:.40}'; send user, assistant, system or developer.", item.place,
                    *role));
  }
  const auto* content = item.find("content");
  if (content == nullptr) return missing(item.place, "content", "a string or text parts");
  std::vector<std::string> texts;
  if (content->is_string()) {
    texts.emplace_back(view(content->get_string()));
  } else {
    auto read = read_parts(*content, item, "content",
                           assistant ? std::span<const std::string_view>(kAssistantParts)
                                     : std::span<const std::string_view>(kInputParts));
    if (!read) return read.error();
    texts = *std::move(read);
  }
  if (assistant) {
    std::string all;
    for (const auto& text : texts) all += text;
    item.conversation.add_text(all);
  } else if (*role == "user") {
    item.conversation.add_user(content_of(std::move(texts)));
  } else {
    item.conversation.add_system(*role, lines_of(texts));
  }
  return {};
}

// What was thought is in `content`, or told in `summary`: of ours, which are the same, one counts.
Result<void> read_reasoning_item(Item& item) {
  const auto* content = item.find("content");
  const auto* summary = item.find("summary");
  const bool has_content =
      content != nullptr && content->is_array() && !content->get_array().empty();
  const json::value* said = has_content ? content : summary;
  if (said == nullptr) return {};  // encrypted_content alone, which is another server's
  auto texts = has_content ? read_parts(*said, item, "content", kReasoningParts)
                           : read_parts(*said, item, "summary", kSummaryParts);
  if (!texts) return texts.error();
  if (!texts->empty()) item.conversation.add_reasoning(lines_of(*texts));
  return {};
}

Result<void> read_function_call(Item& item) {
  const auto id = item.text("call_id"), name = item.text("name"),
             arguments = item.text("arguments"), name_space = item.optional_text("namespace");
  for (const auto* read : {&id, &name, &arguments, &name_space}) {
    if (!*read) return read->error();
  }
  item.conversation.add_call(*id, joined_name(*name_space, *name), *arguments);
  return {};
}

Result<void> read_custom_call(Item& item) {
  const auto id = item.text("call_id"), name = item.text("name"), input = item.text("input"),
             name_space = item.optional_text("namespace");
  for (const auto* read : {&id, &name, &input, &name_space}) {
    if (!*read) return read->error();
  }
  item.conversation.add_call(*id, joined_name(*name_space, *name),
                             json::serialize(json::value{{"input", *input}}));
  return {};
}

// The id of a call that nobody made: always the same, so that a conversation stays the same prompt.
constexpr std::string_view kNoCall = "call00000";

// Whose output it is. One that answers no call, which its `name` tells of, is shown as if the tool
// had been called with nothing.
Result<std::string> read_called(Item& item) {
  if (item.find("call_id") != nullptr || item.find("name") == nullptr) {
    const auto id = item.text("call_id");
    return id ? Result<std::string>(std::string(*id)) : Result<std::string>(id.error());
  }
  const auto name = item.text("name"), name_space = item.optional_text("namespace");
  if (!name) return name.error();
  if (!name_space) return name_space.error();
  item.conversation.add_call(kNoCall, joined_name(*name_space, *name), "{}");
  return std::string(kNoCall);
}

Result<void> read_call_output(Item& item) {
  const auto* output = item.find("output");
  if (output == nullptr) return missing(item.place, "output", "a string or text parts");
  json::value content = *output;
  if (!output->is_string()) {
    auto texts = read_parts(*output, item, "output", kInputParts);
    if (!texts) return texts.error();
    content = content_of(*std::move(texts));
  }
  const auto id = read_called(item);
  if (!id) return id.error();
  item.conversation.add_output(*id, std::move(content));
  return {};
}

Result<void> read_declared_tools(Item& item) {
  const auto* tools = item.find("tools");
  if (tools == nullptr) return missing(item.place, "tools", "an array of tools");
  return read_tools(*tools, item.place + ".tools", item.fields);
}

// Nothing that a model could read: what came of it stands in the messages that follow, or it is an
// event of the client's.
Result<void> drop(Item&) { return {}; }

struct ItemType {
  std::string_view type;
  Result<void> (*read)(Item& item);
  std::string_view keys;  // of its own, apart by spaces; "*": any
};

Result<void> check_keys(const Item& item, std::string_view keys) {
  if (keys == "*") return {};
  for (const auto& member : item.in) {
    const std::string_view key(member.key().data(), member.key().size());
    if (member.value().is_null() || has_word(kCommonKeys, key) || has_word(keys, key)) continue;
    auto known = item.fields.unknown(fmt::format("{}.{}", item.place, key));
    if (!known) return known;
  }
  return {};
}

// A built-in tool's call and its result, as the model would have seen them of a function.
struct BuiltIn {
  std::string_view type;
  std::string_view name;    // of the call; "": this is an output
  std::string_view member;  // what was called with, or what came out
  std::string_view output;  // of a call that has its result with it
};

constexpr std::array kItemTypes = {
    ItemType{"message", read_message, "role content"},
    ItemType{"reasoning", read_reasoning_item, "summary content encrypted_content"},
    ItemType{"function_call", read_function_call, "call_id namespace name arguments"},
    ItemType{"function_call_output", read_call_output, "call_id namespace name output"},
    ItemType{"custom_tool_call", read_custom_call, "call_id namespace name input"},
    ItemType{"custom_tool_call_output", read_call_output, "call_id namespace name output"},
    ItemType{"additional_tools", read_declared_tools, "role tools"},
    ItemType{"tool_search_output", read_declared_tools, "call_id execution tools"},
    ItemType{"tool_search_call", drop, "*"},
    ItemType{"web_search_call", drop, "*"},
    ItemType{"file_search_call", drop, "*"},
    ItemType{"image_generation_call", drop, "*"},
    ItemType{"mcp_list_tools", drop, "*"},
    ItemType{"mcp_approval_request", drop, "*"},
    ItemType{"mcp_approval_response", drop, "*"},
};

constexpr std::array kBuiltIns = {
    BuiltIn{"local_shell_call", "local_shell", "action", {}},
    BuiltIn{"local_shell_call_output", {}, "output", {}},
    BuiltIn{"shell_call", "shell", "action", {}},
    BuiltIn{"shell_call_output", {}, "output", {}},
    BuiltIn{"apply_patch_call", "apply_patch", "operation", {}},
    BuiltIn{"apply_patch_call_output", {}, "output", {}},
    BuiltIn{"code_interpreter_call", "code_interpreter", "code", "outputs"},
    BuiltIn{"mcp_call", "mcp", "arguments", "output"},
};

// A string as it is, all else as JSON.
std::string text_of(const json::value* value) {
  if (value == nullptr) return {};
  return value->is_string() ? std::string(view(value->get_string())) : json::serialize(*value);
}

Result<void> read_built_in(const BuiltIn& kind, Item& item) {
  // The output of a local shell has the call's id in `id`.
  const auto id = item.text(item.find("call_id") != nullptr ? "call_id" : "id");
  if (!id) return id.error();
  const json::value* member = item.find(kind.member);
  if (kind.name.empty()) {
    item.conversation.add_output(*id, json::value(text_of(member)));
    return {};
  }
  const auto own_name = item.optional_text("name");
  if (!own_name) return own_name.error();
  const bool object = member != nullptr && (member->is_object() || kind.type == "mcp_call");
  item.conversation.add_call(
      *id, own_name->empty() ? kind.name : *own_name,
      object ? text_of(member) : json::serialize(json::value{{kind.member, text_of(member)}}));
  if (!kind.output.empty()) {
    item.conversation.add_output(*id, json::value(text_of(item.find(kind.output))));
  }
  return {};
}

}  // namespace

std::string_view item_type(const json::object& in) {
  const auto* type = in.if_contains("type");
  if (type != nullptr && type->is_string()) return view(type->get_string());
  return in.contains("role") ? "message" : in.contains("id") ? "item_reference" : "";
}

Result<void> read_item(const json::object& in, const std::string& place, Conversation& conversation,
                       Fields& fields) {
  Item item{in, place, conversation, fields};
  const std::string_view type = item_type(in);
  if (type.empty()) return missing(place, "type", "\"message\" or another type of items");
  const auto known = std::ranges::find(kItemTypes, type, &ItemType::type);
  if (known != kItemTypes.end()) {
    if (auto checked = check_keys(item, known->keys); !checked) return checked;
    return known->read(item);
  }
  const auto built_in = std::ranges::find(kBuiltIns, type, &BuiltIn::type);
  if (built_in != kBuiltIns.end()) return read_built_in(*built_in, item);
  return not_supported(place, type, "messages, calls and their outputs");
}

}  // namespace mlxd::api::responses
