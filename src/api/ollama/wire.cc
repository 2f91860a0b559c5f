#include "api/ollama/wire.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "api/json_reader.h"
#include "api/json_writer.h"
#include "api/ollama/errors.h"
#include "api/ollama/times.h"
#include "api/request_parts.h"
#include "api/token_json.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

std::int64_t nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

// The object that a call's arguments are, on one line; nothing when they are none.
std::optional<std::string> as_object(const std::string& arguments) {
  json::parse_options options;
  options.max_depth = kJsonDepth;
  boost::system::error_code failed;
  const json::value value = json::parse(arguments, failed, {}, options);
  if (failed || !value.is_object()) return std::nullopt;
  return json::serialize(value);
}

}  // namespace

void Writer::end_call(Piece& piece) {
  if (!call_) return;
  Call call = *std::exchange(call_, std::nullopt);
  auto arguments = as_object(call.arguments);
  if (!arguments) return;
  call.arguments = *std::move(arguments);
  piece.calls.push_back(std::move(call));
}

void Writer::read(const TextDelta& delta, Piece& piece) {
  if (head_.logprobs) {
    piece.details.insert(piece.details.end(), delta.details.begin(), delta.details.end());
  }
  // What says nothing may stand between a name and its arguments.
  if (delta.channel != AnswerChannel::tool_arguments && !delta.text.empty()) end_call(piece);
  switch (delta.channel) {
    case AnswerChannel::content:
      piece.content += delta.text;
      break;
    case AnswerChannel::reasoning:
      piece.thinking += delta.text;
      break;
    case AnswerChannel::tool_name:
      if (!delta.text.empty()) call_ = Call{delta.text, {}};
      break;
    case AnswerChannel::tool_arguments:
      if (call_) call_->arguments += delta.text;
      break;
  }
  if (!delta.finish) return;
  end_call(piece);
  finish_ = *delta.finish;
}

void Writer::write_message(JsonWriter& json, const Piece& piece) const {
  const bool chat = head_.endpoint == Endpoint::chat;
  if (chat) {
    json.key("message");
    json.begin_object();
    json.member("role", "assistant");
  }
  json.member(chat ? "content" : "response", piece.content);
  if (!piece.thinking.empty()) json.member("thinking", piece.thinking);
  if (!piece.calls.empty()) {
    json.key("tool_calls");
    json.begin_array();
    for (const Call& call : piece.calls) {
      json.begin_object();
      json.member("id", make_call_id());
      json.key("function");
      json.begin_object();
      json.member("name", call.name);
      json.key("arguments");
      json.raw(call.arguments);
      json.end_object();
      json.end_object();
    }
    json.end_array();
  }
  if (chat) json.end_object();
}

void Writer::write_end(JsonWriter& json, const Usage& usage) const {
  if (!head_.idle.empty()) return json.member("done_reason", head_.idle);
  json.member("done_reason", finish_ == FinishReason::stop ? "stop" : "length");
  json.member("total_duration", nanoseconds(times_.end));
  json.member("load_duration", nanoseconds(times_.prompt_begun));
  json.member("prompt_eval_count", usage.prompt_tokens);
  json.member("prompt_eval_duration", nanoseconds(times_.first_token - times_.prompt_begun));
  json.member("eval_count", usage.completion_tokens);
  json.member("eval_duration", nanoseconds(times_.end - times_.first_token));
}

// The last object of an answer has a usage.
void Writer::write_object(const Piece& piece, const Usage* usage, std::string& out) const {
  JsonWriter json(out);
  json.begin_object();
  json.member("model", head_.model);
  json.member("created_at", time_now());
  write_message(json, piece);
  json.member("done", usage != nullptr);
  if (usage != nullptr) write_end(json, *usage);
  if (!piece.details.empty()) {
    json.key("logprobs");
    write_token_logprobs(json, piece.details, false);
  }
  json.end_object();
}

std::string Writer::whole(const std::vector<ChoiceText>& choices, const Usage& usage) {
  Piece piece;
  for (const ChoiceText& choice : choices) {
    for (const TextDelta& part : choice) read(part, piece);
  }
  std::string body;
  write_object(piece, &usage, body);
  return body;
}

void Writer::add(const TextDelta& delta, std::string& lines) {
  Piece piece;
  read(delta, piece);
  if (piece.content.empty() && piece.thinking.empty() && piece.calls.empty() &&
      piece.details.empty()) {
    return;
  }
  write_object(piece, nullptr, lines);
  lines += '\n';
}

void Writer::end(const Usage& usage, std::string& lines) {
  write_object({}, &usage, lines);
  lines += '\n';
}

void Writer::fail(const Error& error, std::string& lines) {
  lines += error_body(error);
  lines += '\n';
}

}  // namespace mlxd::api::ollama
