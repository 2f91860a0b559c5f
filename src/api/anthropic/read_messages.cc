// System prompt and messages, block by block, as turns that a chat template reads.
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/anthropic/read_values.h"
#include "api/anthropic/turns.h"
#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;

// Claude Code begins its system prompt with this line, which has a hash of the conversation in it:
// with it no prefix would ever be found again.
constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

// One message on its way.
struct Message {
  std::string_view role;
  Turns& turns;
  RequestFields& fields;
};

// A block, and where it stands.
struct Block {
  const json::object& in;
  std::string place;
  std::string_view type;
};

Result<Block> block_at(const json::value& value, std::string place) {
  if (!value.is_object()) {
    return wrong_type(place, R"(a block such as {"type": "text", "text": "..."})", value);
  }
  const auto type = text_member(value.get_object(), "type", place);
  if (!type) return type.error();
  return Block{value.get_object(), std::move(place), *type};
}

Error unsupported(const Block& block, std::string_view wanted) {
  Error error = bad_value(
      block.place + ".type",
      block.type == "image" || block.type == "document"
          ? fmt::format("'{}' is of type '{}': this server reads text alone, no images and "
                        "documents; send their text, or leave it out.",
                        block.place, block.type)
          : fmt::format("'{}' is of type '{:.40}', which is not supported {}.", block.place,
                        block.type, wanted));
  error.code = "unsupported_content";
  return error;
}

Result<void> read_text(const Block& block, Message& message) {
  const auto text = text_member(block.in, "text", block.place);
  if (!text) return text.error();
  if (!text->empty()) message.turns.say(message.role, *text);
  return note_other_keys(block.in, "type text citations", block.place, message.fields);
}

Result<void> read_thought(const Block& block, Message& message) {
  const auto text = text_member(block.in, "thinking", block.place);
  if (!text) return text.error();
  if (!text->empty()) message.turns.think(*text);
  return note_other_keys(block.in, "type thinking signature", block.place, message.fields);
}

// Encrypted by whoever thought it: nobody here can read it.
Result<void> drop(const Block& block, Message& message) {
  return note_other_keys(block.in, "type data", block.place, message.fields);
}

Result<void> read_tool_use(const Block& block, Message& message) {
  const auto id = text_member(block.in, "id", block.place);
  if (!id) return id.error();
  const auto name = text_member(block.in, "name", block.place);
  if (!name) return name.error();
  const auto* input = block.in.if_contains("input");
  const std::string param = block.place + ".input";
  if (input == nullptr)
    return bad_value(param, fmt::format("'{}' is missing; send an object.", param));
  if (!input->is_object()) return wrong_type(param, "an object", *input);
  message.turns.call(*id, *name, json::serialize(*input));
  return note_other_keys(block.in, "type id name input caller", block.place, message.fields);
}

// One block of a tool's result, as text.
Result<std::string_view> read_result_block(const json::value& value, std::string place,
                                           RequestFields& fields) {
  auto block = block_at(value, std::move(place));
  if (!block) return block.error();
  const bool refers = block->type == "tool_reference";  // to a tool that is declared anyway
  if (block->type != "text" && !refers) return unsupported(*block, "in a result; send text");
  const std::string_view key = refers ? "tool_name" : "text";
  auto text = text_member(block->in, key, block->place);
  if (!text) return text;
  const auto noted =
      note_other_keys(block->in, "type text tool_name citations", block->place, fields);
  if (!noted) return noted.error();
  return text;
}

Result<json::array> read_result(const Block& block, RequestFields& fields) {
  json::array parts;
  const auto* content = block.in.if_contains("content");
  const std::string param = block.place + ".content";
  if (content == nullptr || content->is_null()) return parts;
  if (content->is_string()) {
    parts.push_back(text_part(view(content->get_string())));
    return parts;
  }
  if (!content->is_array()) return wrong_type(param, "a string or an array of blocks", *content);
  const json::array& list = content->get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto text = read_result_block(list[i], fmt::format("{}.{}", param, i), fields);
    if (!text) return text.error();
    parts.push_back(text_part(*text));
  }
  return parts;
}

// Templates have no other place than the text for that a call failed.
void mark_as_error(json::array& parts) {
  if (parts.empty()) parts.push_back(text_part(""));
  json::string& text = parts[0].as_object()["text"].as_string();
  text.insert(0, "Error: ");
}

Result<void> read_tool_result(const Block& block, Message& message) {
  const auto id = text_member(block.in, "tool_use_id", block.place);
  if (!id) return id.error();
  auto parts = read_result(block, message.fields);
  if (!parts) return parts.error();
  if (const auto* failed = block.in.if_contains("is_error");
      failed != nullptr && !failed->is_null()) {
    if (!failed->is_bool()) return wrong_type(block.place + ".is_error", "true or false", *failed);
    if (failed->get_bool()) mark_as_error(*parts);
  }
  if (!message.turns.answer(*id, *std::move(parts))) {
    return bad_value(block.place + ".tool_use_id",
                     fmt::format("'{}.tool_use_id' is '{:.100}', and no tool_use block before it "
                                 "has that id.",
                                 block.place, *id));
  }
  return note_other_keys(block.in, "type tool_use_id content is_error", block.place,
                         message.fields);
}

// The blocks that a message may have, by who says it.
struct BlockReader {
  std::string_view type;
  bool system, user, assistant;
  Result<void> (*read)(const Block& block, Message& message);
};
constexpr std::array kBlocks = {
    BlockReader{"text", true, true, true, read_text},
    BlockReader{"thinking", false, false, true, read_thought},
    BlockReader{"redacted_thinking", false, false, true, drop},
    BlockReader{"tool_use", false, false, true, read_tool_use},
    BlockReader{"tool_result", false, true, false, read_tool_result},
};

Result<void> read_block(const Block& block, Message& message) {
  for (const BlockReader& row : kBlocks) {
    const bool fits = message.role == "system" ? row.system
                      : message.role == "user" ? row.user
                                               : row.assistant;
    if (fits && row.type == block.type) return row.read(block, message);
  }
  return unsupported(block, fmt::format("in a message of role {}", message.role));
}

// Results come before what the user says beside them: they belong to the calls before.
Result<void> read_blocks(const json::array& list, const std::string& place, Message& message) {
  for (const bool results : {true, false}) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto block = block_at(list[i], fmt::format("{}.{}", place, i));
      if (!block) return block.error();
      if ((block->type == "tool_result") != results) continue;
      const std::size_t before = message.fields.breakpoints.size();
      if (auto read = read_block(*block, message); !read) return read;
      for (Breakpoint& mark : std::span(message.fields.breakpoints).subspan(before)) {
        mark.turns = message.turns.size();
      }
    }
  }
  return {};
}

Result<std::string_view> role_of(const json::object& in, const std::string& place) {
  auto role = text_member(in, "role", place);
  if (!role || *role == "user" || *role == "assistant" || *role == "system") return role;
  return bad_value(place + ".role", fmt::format("'{}.role' is '{:.40}'; send user, assistant or "
                                                "system.",
                                                place, *role));
}

Result<void> read_message(const json::value& value, const std::string& place, Turns& turns,
                          RequestFields& fields) {
  if (!value.is_object()) {
    return wrong_type(place, R"(an object such as {"role": "user", "content": "..."})", value);
  }
  const json::object& in = value.get_object();
  const auto role = role_of(in, place);
  if (!role) return role.error();
  Message message{*role, turns, fields};
  const auto* content = in.if_contains("content");
  const std::string param = place + ".content";
  constexpr std::string_view kWanted = "a string or an array of blocks";
  if (content == nullptr) {
    return bad_value(param, fmt::format("'{}' is missing; send {}.", param, kWanted));
  }
  const bool empty = (content->is_string() && content->get_string().empty()) ||
                     (content->is_array() && content->get_array().empty());
  if (empty && *role != "assistant") {
    return bad_value(param, fmt::format("'{}' is empty; send text.", param));
  }
  if (content->is_string()) {
    if (!empty) turns.say(*role, view(content->get_string()));
  } else if (!content->is_array()) {
    return wrong_type(param, kWanted, *content);
  } else if (auto read = read_blocks(content->get_array(), param, message); !read) {
    return read;
  }
  return note_other_keys(in, "role content", place, fields);
}

// What is left of a system prompt's text without the billing header.
std::string_view without_billing_header(std::string_view text) {
  if (!text.starts_with(kBillingHeader)) return text;
  text.remove_prefix(std::min(text.find('\n'), text.size()));
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text;
}

}  // namespace

Result<void> read_system(const json::value& value, RequestFields& fields) {
  if (value.is_string()) {
    const std::string_view text = without_billing_header(view(value.get_string()));
    if (!text.empty()) fields.system.push_back(text_part(text));
    return {};
  }
  if (!value.is_array()) return wrong_type("system", "a string or an array of text blocks", value);
  const json::array& list = value.get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto block = block_at(list[i], fmt::format("system.{}", i));
    if (!block) return block.error();
    if (block->type != "text") return unsupported(*block, "in the system prompt; send text");
    const auto text = text_member(block->in, "text", block->place);
    if (!text) return text.error();
    if (!text->empty() && !text->starts_with(kBillingHeader)) {
      fields.system.push_back(text_part(*text));
    }
    const auto noted = note_other_keys(block->in, "type text citations", block->place, fields);
    if (!noted) return noted;
  }
  return {};
}

Result<void> read_messages(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted = "an array of 1 to 100000 messages";
  if (!value.is_array()) return wrong_type("messages", kWanted, value);
  const json::array& list = value.get_array();
  if (list.empty() || list.size() > kMaxMessages) {
    return bad_value("messages",
                     fmt::format("'messages' has {} entries; send {}.", list.size(), kWanted));
  }
  Turns turns;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto read = read_message(list[i], fmt::format("messages.{}", i), turns, fields);
    if (!read) return read;
  }
  if (turns.ends_with_call()) {
    return bad_value(
        "messages",
        "'messages' ends with a tool_use block; send its tool_result in a user message "
        "after it.");
  }
  fields.continues = turns.ends_with_answer();
  fields.messages = turns.take();
  if (fields.messages.empty()) return bad_value("messages", "'messages' says nothing; send text.");
  return {};
}

}  // namespace mlxd::api::anthropic
