#include "api/responses/output.h"

#include <utility>

#include "api/request_parts.h"
#include "api/token_json.h"

namespace mlxd::api::responses {
namespace {

using Kind = OutputItem::Kind;
using Status = OutputItem::Status;

// Names of a kind of items: of its type and ids, and of the events that tell of its text.
struct KindNames {
  std::string_view type;
  std::string_view id_prefix;
  std::string_view text_delta;
  std::string_view text_done;
  std::string_view text_key;  // in the latter
};

const KindNames& names_of(Kind kind) {
  static constexpr KindNames kReasoning{"reasoning", "rs_", "response.reasoning_summary_text.delta",
                                        "response.reasoning_summary_text.done", "text"};
  static constexpr KindNames kMessage{"message", "msg_", "response.output_text.delta",
                                      "response.output_text.done", "text"};
  static constexpr KindNames kFunction{"function_call", "fc_",
                                       "response.function_call_arguments.delta",
                                       "response.function_call_arguments.done", "arguments"};
  static constexpr KindNames kCustom{"custom_tool_call", "ctc_",
                                     "response.custom_tool_call_input.delta",
                                     "response.custom_tool_call_input.done", "input"};
  switch (kind) {
    case Kind::reasoning:
      return kReasoning;
    case Kind::message:
      return kMessage;
    case Kind::function_call:
      return kFunction;
    case Kind::custom_tool_call:
      break;
  }
  return kCustom;
}

std::string_view status_name(Status status) {
  switch (status) {
    case Status::in_progress:
      return "in_progress";
    case Status::completed:
      return "completed";
    case Status::incomplete:
      break;
  }
  return "incomplete";
}

bool is_call(Kind kind) { return kind == Kind::function_call || kind == Kind::custom_tool_call; }

void write_part(JsonWriter& json, const OutputItem& item) {
  json.begin_object();
  if (item.kind == Kind::reasoning) {
    json.member("type", "summary_text");
    json.member("text", item.text);
  } else {
    json.member("type", "output_text");
    json.member("text", item.text);
    json.key("annotations");
    json.begin_array();
    json.end_array();
    json.key("logprobs");
    write_token_logprobs(json, item.logprobs, false);
  }
  json.end_object();
}

}  // namespace

// The parts of a message or a summary are there when its text has begun, as in the events.
void write_item(JsonWriter& json, const OutputItem& item) {
  const bool begun = item.status != Status::in_progress;
  json.begin_object();
  json.member("type", names_of(item.kind).type);
  json.member("id", item.id);
  if (item.kind != Kind::reasoning) json.member("status", status_name(item.status));
  if (is_call(item.kind)) {
    json.member("call_id", item.call_id);
    if (!item.tool.name_space.empty()) json.member("namespace", item.tool.name_space);
    json.member("name", item.tool.name);
    json.member(names_of(item.kind).text_key, item.text);
  } else {
    if (item.kind == Kind::message) json.member("role", "assistant");
    json.key(item.kind == Kind::message ? "content" : "summary");
    json.begin_array();
    if (begun) write_part(json, item);
    json.end_array();
    if (item.kind == Kind::reasoning) json.null_member("encrypted_content");
  }
  json.end_object();
}

void Output::add(const TextDelta& delta) {
  if (delta.finish) finish_ = delta.finish;
  switch (delta.channel) {
    case AnswerChannel::content:
      if (delta.text.empty() && (delta.details.empty() || !is_open(Kind::message))) return;
      if (!is_open(Kind::message)) open(Kind::message);
      return grow(delta.text, delta.details);
    case AnswerChannel::reasoning:
      if (delta.text.empty()) return;
      if (!is_open(Kind::reasoning)) open(Kind::reasoning);
      return grow(delta.text, {});
    case AnswerChannel::tool_name: {
      const auto tool = offered_.find(delta.text);
      const bool custom = tool != offered_.end() && tool->second.custom;
      return open(custom ? Kind::custom_tool_call : Kind::function_call, delta.text);
    }
    case AnswerChannel::tool_arguments:
      if (is_open(Kind::custom_tool_call)) return grow(input_.add(delta.text), {});
      return grow(delta.text, {});
  }
}

void Output::end() {
  if (items_.empty()) open(Kind::message);
  close(incomplete() ? Status::incomplete : Status::completed);
}

void Output::break_off() {
  if (open_) items_.back().status = Status::incomplete;
  open_ = false;
}

bool Output::is_open(Kind kind) const { return open_ && items_.back().kind == kind; }

void Output::open(Kind kind, const std::string& called) {
  close(Status::completed);
  OutputItem item;
  item.kind = kind;
  item.id = std::string(names_of(kind).id_prefix) + random_hex(48);
  if (is_call(kind)) {
    item.call_id = make_call_id();
    const auto tool = offered_.find(called);
    item.tool = tool == offered_.end() ? OfferedTool{{}, called, false} : tool->second;
    input_ = {};
  }
  items_.push_back(std::move(item));
  open_ = true;
  send_item("response.output_item.added");
  if (kind == Kind::reasoning) send_part("response.reasoning_summary_part.added");
  if (kind == Kind::message) send_part("response.content_part.added");
}

void Output::close(Status status) {
  if (!open_) return;
  if (is_open(Kind::custom_tool_call)) grow(input_.end(), {});
  OutputItem& item = items_.back();
  item.status = status;
  const KindNames& names = names_of(item.kind);
  send_text(names.text_done, names.text_key, item.text, item.logprobs);
  if (item.kind == Kind::reasoning) send_part("response.reasoning_summary_part.done");
  if (item.kind == Kind::message) send_part("response.content_part.done");
  send_item("response.output_item.done");
  open_ = false;
}

void Output::grow(std::string_view text, const std::vector<TokenDetail>& logprobs) {
  const bool shows = logprobs_ && !logprobs.empty();
  if (text.empty() && !shows) return;
  OutputItem& item = items_.back();
  item.text += text;
  if (shows) item.logprobs.insert(item.logprobs.end(), logprobs.begin(), logprobs.end());
  static const std::vector<TokenDetail> kNone;
  send_text(names_of(item.kind).text_delta, "delta", text, shows ? logprobs : kNone);
}

void Output::send_item(std::string_view type) {
  events_.send(type, [this](JsonWriter& json) {
    json.member("output_index", items_.size() - 1);
    json.key("item");
    write_item(json, items_.back());
  });
}

void Output::send_part(std::string_view type) {
  events_.send(type, [this](JsonWriter& json) {
    const OutputItem& item = items_.back();
    json.member("item_id", item.id);
    json.member("output_index", items_.size() - 1);
    json.member(item.kind == Kind::reasoning ? "summary_index" : "content_index", 0);
    json.key("part");
    write_part(json, item);
  });
}

void Output::send_text(std::string_view type, std::string_view key, std::string_view text,
                       const std::vector<TokenDetail>& logprobs) {
  events_.send(type, [&](JsonWriter& json) {
    const OutputItem& item = items_.back();
    json.member("item_id", item.id);
    json.member("output_index", items_.size() - 1);
    if (item.kind == Kind::reasoning) json.member("summary_index", 0);
    if (item.kind == Kind::message) json.member("content_index", 0);
    json.member(key, text);
    if (item.kind == Kind::message) {
      json.key("logprobs");
      write_token_logprobs(json, logprobs, false);
    }
    if (item.kind == Kind::function_call && key != "delta") json.member("name", item.tool.name);
  });
}

}  // namespace mlxd::api::responses
