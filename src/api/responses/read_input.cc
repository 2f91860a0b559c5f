// The items of a conversation, as clients send them and the store has them: checked, and put
// together to the messages of a chat.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_values.h"
#include "api/responses/conversation.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

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

// The texts of an array of parts: those of `types`, each under the key of that name or "text".
Result<std::vector<std::string>> read_parts(const json::value& value, const std::string& place,
                                            std::span<const std::string_view> types) {
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
    const std::string_view key = kind == "refusal" ? "refusal" : "text";
    const auto* text = part.if_contains(key);
    if (text == nullptr || !text->is_string()) return missing(at, key, "a string");
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
constexpr std::array<std::string_view, 2> kReasoningParts = {"reasoning_text", "text"};
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
    auto read = read_parts(*content, item.place + ".content",
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
  auto texts = has_content ? read_parts(*said, item.place + ".content", kReasoningParts)
                           : read_parts(*said, item.place + ".summary", kSummaryParts);
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

Result<void> read_call_output(Item& item) {
  const auto id = item.text("call_id");
  if (!id) return id.error();
  const auto* output = item.find("output");
  if (output == nullptr) return missing(item.place, "output", "a string or text parts");
  if (output->is_string()) {
    item.conversation.add_output(*id, *output);
    return {};
  }
  auto texts = read_parts(*output, item.place + ".output", kInputParts);
  if (!texts) return texts.error();
  item.conversation.add_output(*id, content_of(*std::move(texts)));
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
};

// A built-in tool's call and its result, as the model would have seen them of a function.
struct BuiltIn {
  std::string_view type;
  std::string_view name;    // of the call; "": this is an output
  std::string_view member;  // what was called with, or what came out
  std::string_view output;  // of a call that has its result with it
};

constexpr std::array kItemTypes = {
    ItemType{"message", read_message},
    ItemType{"reasoning", read_reasoning_item},
    ItemType{"function_call", read_function_call},
    ItemType{"function_call_output", read_call_output},
    ItemType{"custom_tool_call", read_custom_call},
    ItemType{"custom_tool_call_output", read_call_output},
    ItemType{"additional_tools", read_declared_tools},
    ItemType{"tool_search_output", read_declared_tools},
    ItemType{"tool_search_call", drop},
    ItemType{"web_search_call", drop},
    ItemType{"file_search_call", drop},
    ItemType{"image_generation_call", drop},
    ItemType{"mcp_list_tools", drop},
    ItemType{"mcp_approval_request", drop},
    ItemType{"mcp_approval_response", drop},
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

// What it has no type for is a message, or the name of an item.
std::string_view type_of(const json::object& in) {
  const auto* type = in.if_contains("type");
  if (type != nullptr && type->is_string()) return view(type->get_string());
  return in.contains("role") ? "message" : in.contains("id") ? "item_reference" : "";
}

Result<void> read_item(const json::object& in, const std::string& place, Conversation& conversation,
                       Fields& fields) {
  Item item{in, place, conversation, fields};
  const std::string_view type = type_of(in);
  if (type.empty()) return missing(place, "type", "\"message\" or another type of items");
  const auto known = std::ranges::find(kItemTypes, type, &ItemType::type);
  if (known != kItemTypes.end()) return known->read(item);
  const auto built_in = std::ranges::find(kBuiltIns, type, &BuiltIn::type);
  if (built_in != kBuiltIns.end()) return read_built_in(*built_in, item);
  return not_supported(place, type, "messages, calls and their outputs");
}

using StoredItem = std::shared_ptr<const ResponseStore::Item>;

StoredItem stored(const json::value& value) {
  const auto* id = value.get_object().if_contains("id");
  const bool named = id != nullptr && id->is_string();
  return std::make_shared<ResponseStore::Item>(ResponseStore::Item{
      named ? std::string(view(id->get_string())) : std::string(), json::serialize(value)});
}

// What the store has is what was read before, or what the server wrote.
Result<void> read_stored(const StoredItem& item, const std::string& place,
                         Conversation& conversation, Fields& fields) {
  auto value = read_json(item->json);
  if (!value) return value.error();
  return read_item(value->get_object(), place, conversation, fields);
}

Result<StoredItem> referenced(const json::object& in, const std::string& place,
                              ResponseStore& store, std::uint64_t caller) {
  const auto* id = in.if_contains("id");
  if (id == nullptr || !id->is_string()) return missing(place, "id", "the id of an item");
  auto item = store.item(caller, view(id->get_string()));
  if (item) return item;
  Error error = bad_value(place + ".id",
                          fmt::format("Item with id '{:.100}' not found: it belongs to no stored "
                                      "response. Send the item itself.",
                                      view(id->get_string())));
  error.code = "item_not_found";
  return error;
}

std::string unavailable_words(const std::vector<std::string>& types) {
  std::string words = "These tools are not available here, so do not try to use them:";
  for (const auto& type : types) words += (&type == &types.front() ? " " : ", ") + type;
  return words + ".";
}

json::array items_of(const json::value* input) {
  if (input == nullptr) return {};
  if (input->is_array()) return input->get_array();
  return {{{"type", "message"}, {"role", "user"}, {"content", *input}}};
}

}  // namespace

Result<std::string> read_conversation(Fields& fields, ResponseStore& store, std::uint64_t caller,
                                      ResponseStore::Items& earlier) {
  constexpr std::string_view kWanted = "a string or an array of items";
  if (fields.input != nullptr && !fields.input->is_string() && !fields.input->is_array()) {
    return wrong_type("input", kWanted, *fields.input);
  }
  const json::array items = items_of(fields.input);
  if (earlier.size() + items.size() > kMaxItems) {
    return bad_value("input", fmt::format("the conversation has {} items; send at most {}.",
                                          earlier.size() + items.size(), kMaxItems));
  }
  Conversation conversation;
  if (!fields.instructions.empty()) conversation.add_system("system", fields.instructions);
  if (!fields.tools.unavailable.empty()) {
    conversation.add_system("system", unavailable_words(fields.tools.unavailable));
  }
  fields.tools.in_items = true;
  for (const auto& item : earlier) {
    auto read = read_stored(item, "previous_response_id", conversation, fields);
    if (!read) return read.error();
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string place = fmt::format("input[{}]", i);
    if (!items[i].is_object()) return wrong_type(place, "an item", items[i]);
    const json::object& in = items[i].get_object();
    if (type_of(in) == "item_reference") {
      auto item = referenced(in, place, store, caller);
      if (!item) return item.error();
      if (auto read = read_stored(*item, place, conversation, fields); !read) return read.error();
      earlier.push_back(*std::move(item));
      continue;
    }
    if (auto read = read_item(in, place, conversation, fields); !read) return read.error();
    if (fields.store) earlier.push_back(stored(items[i]));
  }
  return json::serialize(conversation.take());
}

}  // namespace mlxd::api::responses
