#include "api/anthropic/wire.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <boost/json/value.hpp>

#include "api/anthropic/errors.h"
#include "api/json_reader.h"
#include "api/json_writer.h"
#include "api/request_parts.h"

namespace mlxd::api::anthropic {
namespace {

// One event of a stream; `write` adds the members beside its type.
template <class Write>
void event(std::string& frames, std::string_view type, Write write) {
  frames += "event: ";
  frames += type;
  frames += "\ndata: ";
  JsonWriter json(frames);
  json.begin_object();
  json.member("type", type);
  write(json);
  json.end_object();
  frames += "\n\n";
}

std::string_view block_type(BlockKind kind) {
  switch (kind) {
    case BlockKind::thinking:
      return "thinking";
    case BlockKind::tool_use:
      return "tool_use";
    case BlockKind::text:
    case BlockKind::none:
      break;
  }
  return "text";
}

struct Block {
  BlockKind kind = BlockKind::none;
  std::string text, name;
};

// A call's arguments. One that broke off, which the stop reason tells, has none.
std::string input_of(const Block& block) {
  const auto read = read_json(block.text);
  return read && read->is_object() ? block.text : "{}";
}

void write_block(JsonWriter& json, const Block& block, std::string_view signature) {
  json.begin_object();
  json.member("type", block_type(block.kind));
  if (block.kind == BlockKind::tool_use) {
    json.member("id", "toolu_" + random_hex(24));
    json.member("name", block.name);
    json.key("input");
    json.raw(input_of(block));
  } else {
    json.member(block_type(block.kind), block.text);
  }
  if (block.kind == BlockKind::thinking) json.member("signature", signature);
  json.end_object();
}

std::vector<Block> blocks_of(const ChoiceText& choice) {
  BlockSequence sequence;
  std::vector<Block> blocks;
  for (const TextDelta& part : choice) {
    BlockSequence::Change change = sequence.next(part);
    if (change.begins) blocks.push_back({sequence.open(), {}, {}});
    if (change.text.empty()) continue;
    Block& block = blocks.back();
    const bool is_name = change.begins && block.kind == BlockKind::tool_use;
    (is_name ? block.name : block.text) += change.text;
  }
  return blocks;
}

}  // namespace

MessageWriter::MessageWriter(WireOptions wire)
    : wire_(std::move(wire)), id_("msg_" + random_hex(24)) {}

void MessageWriter::End::note(const TextDelta& delta) {
  calls = calls || delta.channel == AnswerChannel::tool_name;
  if (!delta.finish) return;
  finish = delta.finish;
  stop = delta.stop;
}

std::string_view MessageWriter::End::reason() const {
  if (finish == FinishReason::length) return "max_tokens";
  if (!stop.empty()) return "stop_sequence";
  return calls ? "tool_use" : "end_turn";
}

// Clients want one and send it back; this server takes a block's text as its own in any case.
std::string MessageWriter::signature() const { return "mlxd:" + id_; }

void MessageWriter::write_head(JsonWriter& json) const {
  json.member("id", id_);
  json.member("type", "message");
  json.member("role", "assistant");
  json.member("model", wire_.model);
}

void MessageWriter::write_end(JsonWriter& json, const End& end) const {
  json.member("stop_reason", end.reason());
  if (end.reason() == "stop_sequence") {
    json.member("stop_sequence", end.stop);
  } else {
    json.null_member("stop_sequence");
  }
}

// The three counts of input add up to the prompt. Its last token is computed each time, and so
// never counts as kept. Claude Code relies on that: where the last event says 0, it goes on with
// the first event's count, and would add what is kept to the whole.
void MessageWriter::write_usage(JsonWriter& json, const Usage& usage) const {
  const int computed = usage.prompt_tokens - usage.cached_prompt_tokens;
  const int kept = wire_.cache_control ? std::max(computed - 1, 0) : 0;
  json.key("usage");
  json.begin_object();
  json.member("input_tokens", computed - kept);
  json.member("cache_creation_input_tokens", kept);
  json.member("cache_read_input_tokens", usage.cached_prompt_tokens);
  json.member("output_tokens", usage.completion_tokens);
  json.key("output_tokens_details");
  json.begin_object();
  json.member("thinking_tokens", usage.reasoning_tokens);
  json.end_object();
  json.end_object();
}

std::string MessageWriter::whole(const std::vector<ChoiceText>& choices, const Usage& usage) {
  const ChoiceText& choice = choices.at(0);
  End end;
  for (const TextDelta& part : choice) end.note(part);
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  write_head(json);
  json.key("content");
  json.begin_array();
  for (Block& block : blocks_of(choice)) {
    if (block.kind == BlockKind::thinking && wire_.omit_thinking) block.text.clear();
    write_block(json, block, signature());
  }
  json.end_array();
  write_end(json, end);
  write_usage(json, usage);
  json.end_object();
  return body;
}

// How much of the prompt was found in the cache is known at the end.
void MessageWriter::begin(int /*choices*/, std::string& frames) {
  event(frames, "message_start", [this](JsonWriter& json) {
    json.key("message");
    json.begin_object();
    write_head(json);
    json.key("content");
    json.begin_array();
    json.end_array();
    json.null_member("stop_reason");
    json.null_member("stop_sequence");
    json.key("usage");
    json.begin_object();
    json.member("input_tokens", prompt_tokens_);
    json.member("cache_creation_input_tokens", 0);
    json.member("cache_read_input_tokens", 0);
    json.member("output_tokens", 0);
    json.end_object();
    json.end_object();
  });
}

void MessageWriter::end_block(BlockKind kind, int index, std::string& frames) const {
  if (kind == BlockKind::none) return;
  if (kind == BlockKind::thinking) {
    event(frames, "content_block_delta", [&](JsonWriter& json) {
      json.member("index", index);
      json.key("delta");
      json.begin_object();
      json.member("type", "signature_delta");
      json.member("signature", signature());
      json.end_object();
    });
  }
  event(frames, "content_block_stop", [&](JsonWriter& json) { json.member("index", index); });
}

void MessageWriter::add(const TextDelta& delta, std::string& frames) {
  end_.note(delta);
  const BlockKind before = blocks_.open();
  const BlockSequence::Change change = blocks_.next(delta);
  const BlockKind kind = blocks_.open();
  const int index = blocks_.index();
  if (change.ends) end_block(before, index - 1, frames);
  if (change.begins) {
    event(frames, "content_block_start", [&](JsonWriter& json) {
      json.member("index", index);
      json.key("content_block");
      Block begun{kind, {}, kind == BlockKind::tool_use ? change.text : std::string()};
      write_block(json, begun, "");
    });
  }
  const bool is_name = change.begins && kind == BlockKind::tool_use;
  const bool omitted = kind == BlockKind::thinking && wire_.omit_thinking;
  if (change.text.empty() || is_name || omitted) return;
  event(frames, "content_block_delta", [&](JsonWriter& json) {
    json.member("index", index);
    json.key("delta");
    json.begin_object();
    json.member("type", kind == BlockKind::thinking   ? "thinking_delta"
                        : kind == BlockKind::tool_use ? "input_json_delta"
                                                      : "text_delta");
    json.member(kind == BlockKind::tool_use ? "partial_json" : block_type(kind), change.text);
    json.end_object();
  });
}

void MessageWriter::end(const Usage& usage, std::string& frames) {
  end_block(blocks_.open(), blocks_.index(), frames);
  event(frames, "message_delta", [&](JsonWriter& json) {
    json.key("delta");
    json.begin_object();
    write_end(json, end_);
    json.end_object();
    write_usage(json, usage);
  });
  event(frames, "message_stop", [](JsonWriter&) {});
}

void MessageWriter::fail(const Error& error, std::string& frames) {
  frames += "event: error\ndata: " + error_json(error) + "\n\n";
}

void MessageWriter::keep_alive(std::string& frames) {
  event(frames, "ping", [](JsonWriter&) {});
}

}  // namespace mlxd::api::anthropic
