#include "api/openai/wire.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>

#include "api/errors.h"
#include "api/json_writer.h"
#include "api/request_parts.h"
#include "api/token_json.h"

namespace mlxd::api {
namespace {

std::string_view finish_name(const WireOptions& wire, FinishReason reason, bool calls) {
  if (reason != FinishReason::stop) return "length";
  if (!calls) return "stop";
  return wire.legacy_functions ? "function_call" : "tool_calls";
}

void write_function(JsonWriter& json, std::string_view name, std::string_view arguments) {
  json.begin_object();
  json.member("name", name);
  json.member("arguments", arguments);
  json.end_object();
}

void write_chat_logprobs(JsonWriter& json, const WireOptions& wire,
                         const std::vector<TokenDetail>& tokens) {
  json.begin_object();
  json.key("content");
  write_token_logprobs(json, tokens, wire.token_ids);
  json.null_member("refusal");
  json.end_object();
}

// The alternatives of one token by their text, the token itself among them. Two tokens that print
// alike (parts of characters) share a key; the likelier one, which comes first, keeps it.
void write_alternatives(JsonWriter& json, const WireOptions& wire, const TokenDetail& detail) {
  if (!detail.has_logprob) return json.null();
  std::set<std::string> written;
  const auto write = [&](int token, const std::string& bytes, float logprob) {
    auto [text, is_new] = written.insert(token_text(token, bytes, wire.token_ids));
    if (!is_new) return;
    json.key(*text);
    json.logprob(logprob);
  };
  json.begin_object();
  for (const auto& other : detail.top) write(other.token, other.bytes, other.logprob);
  write(detail.token, detail.bytes, detail.logprob);
  json.end_object();
}

void write_completion_logprobs(JsonWriter& json, const WireOptions& wire,
                               const std::vector<TokenDetail>& tokens,
                               const std::vector<int>& offsets) {
  json.begin_object();
  json.key("tokens");
  json.begin_array();
  for (const auto& detail : tokens)
    json.string(token_text(detail.token, detail.bytes, wire.token_ids));
  json.end_array();
  json.key("token_logprobs");
  json.begin_array();
  for (const auto& detail : tokens) {
    if (detail.has_logprob) {
      json.logprob(detail.logprob);
    } else {
      json.null();
    }
  }
  json.end_array();
  json.key("top_logprobs");
  json.begin_array();
  for (const auto& detail : tokens) write_alternatives(json, wire, detail);
  json.end_array();
  json.key("text_offset");
  json.begin_array();
  for (const int offset : offsets) json.integer(offset);
  json.end_array();
  json.end_object();
}

void write_logprobs(JsonWriter& json, const WireOptions& wire,
                    const std::vector<TokenDetail>& tokens, const std::vector<int>& offsets) {
  json.key("logprobs");
  if (!wire.logprobs) return json.null();
  if (wire.endpoint == Endpoint::chat) return write_chat_logprobs(json, wire, tokens);
  write_completion_logprobs(json, wire, tokens, offsets);
}

void write_count_members(JsonWriter& json, const Usage& usage) {
  json.member("prompt_tokens", usage.prompt_tokens);
  json.member("completion_tokens", usage.completion_tokens);
  json.member("total_tokens", usage.prompt_tokens + usage.completion_tokens);
}

void write_counts(JsonWriter& json, const Usage& usage) {
  json.begin_object();
  write_count_members(json, usage);
  json.end_object();
}

void write_usage(JsonWriter& json, const Usage& usage) {
  json.begin_object();
  write_count_members(json, usage);
  json.key("prompt_tokens_details");
  json.begin_object();
  json.member("cached_tokens", usage.cached_prompt_tokens);
  json.end_object();
  json.key("completion_tokens_details");
  json.begin_object();
  json.member("reasoning_tokens", usage.reasoning_tokens);
  json.end_object();
  json.end_object();
}

void write_head(JsonWriter& json, const ResponseHead& head, std::string_view object) {
  json.member("id", head.id);
  json.member("object", object);
  json.member("created", head.created);
  json.member("model", head.model);
  json.member("system_fingerprint", head.fingerprint);
}

// A choice by its channels.
struct Message {
  struct Call {
    std::string name, arguments;
  };
  TextDelta content;  // with what ended the choice
  std::string reasoning;
  std::vector<Call> calls;
};

Message message_of(const ChoiceText& choice) {
  Message message;
  for (const TextDelta& part : choice) {
    if (part.finish) message.content.finish = part.finish;
    switch (part.channel) {
      case AnswerChannel::content:
        message.content.text += part.text;
        message.content.details.insert(message.content.details.end(), part.details.begin(),
                                       part.details.end());
        message.content.offsets.insert(message.content.offsets.end(), part.offsets.begin(),
                                       part.offsets.end());
        break;
      case AnswerChannel::reasoning:
        message.reasoning += part.text;
        break;
      case AnswerChannel::tool_name:
        message.calls.resize(static_cast<std::size_t>(part.call) + 1);
        message.calls.back().name += part.text;
        break;
      case AnswerChannel::tool_arguments:
        message.calls.back().arguments += part.text;
        break;
    }
  }
  return message;
}

void write_calls(JsonWriter& json, const WireOptions& wire,
                 const std::vector<Message::Call>& calls) {
  if (wire.legacy_functions) {
    json.key("function_call");
    return write_function(json, calls.front().name, calls.front().arguments);
  }
  json.key("tool_calls");
  json.begin_array();
  for (const Message::Call& call : calls) {
    json.begin_object();
    json.member("id", make_call_id());
    json.member("type", "function");
    json.key("function");
    write_function(json, call.name, call.arguments);
    json.end_object();
  }
  json.end_array();
}

void write_message(JsonWriter& json, const WireOptions& wire, const Message& message) {
  json.begin_object();
  json.member("role", "assistant");
  if (message.content.text.empty() && !message.calls.empty()) {
    json.null_member("content");
  } else {
    json.member("content", message.content.text);
  }
  json.null_member("refusal");
  if (!message.reasoning.empty()) {
    json.member("reasoning_content", message.reasoning);
    json.member("reasoning", message.reasoning);
  }
  if (!message.calls.empty()) write_calls(json, wire, message.calls);
  json.end_object();
}

void write_choice(JsonWriter& json, const WireOptions& wire, int index, const ChoiceText& choice) {
  const Message message = message_of(choice);
  const TextDelta& content = message.content;
  json.begin_object();
  json.member("index", index);
  if (wire.endpoint == Endpoint::chat) {
    json.key("message");
    write_message(json, wire, message);
  } else {
    json.member("text", content.text);
  }
  write_logprobs(json, wire, content.details, content.offsets);
  json.key("finish_reason");
  if (content.finish) {
    json.string(finish_name(wire, *content.finish, !message.calls.empty()));
  } else {
    json.null();
  }
  json.end_object();
}

}  // namespace

std::string make_response_id(Endpoint endpoint) {
  return (endpoint == Endpoint::chat ? "chatcmpl-" : "cmpl-") + random_hex(24);
}

OpenAiWriter::OpenAiWriter(ResponseHead head, WireOptions wire)
    : head_(std::move(head)), wire_(wire) {}

std::string OpenAiWriter::whole(const std::vector<ChoiceText>& choices, const Usage& usage) {
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  write_head(json, head_, wire_.endpoint == Endpoint::chat ? "chat.completion" : "text_completion");
  json.key("choices");
  json.begin_array();
  for (std::size_t i = 0; i < choices.size(); ++i) {
    write_choice(json, wire_, static_cast<int>(i), choices[i]);
  }
  json.end_array();
  json.key("usage");
  write_usage(json, usage);
  json.end_object();
  return body;
}

// `usage` stands in the usage chunk alone; every other chunk of a stream that asked for it says
// null, or what is known so far.
template <class WriteChoices, class WriteMore>
void OpenAiWriter::chunk(std::string& frames, const Usage* usage, WriteChoices write_choices,
                         WriteMore write_more) const {
  frames += "data: ";
  JsonWriter json(frames);
  json.begin_object();
  write_head(json, head_,
             wire_.endpoint == Endpoint::chat ? "chat.completion.chunk" : "text_completion");
  json.key("choices");
  json.begin_array();
  write_choices(json);
  json.end_array();
  if (wire_.include_usage || wire_.continuous_usage) {
    json.key("usage");
    if (usage != nullptr) {
      write_usage(json, *usage);
    } else if (wire_.continuous_usage) {
      write_counts(json, so_far_);
    } else {
      json.null();
    }
  }
  write_more(json);
  json.end_object();
  frames += "\n\n";
}

template <class WriteChoices>
void OpenAiWriter::chunk(std::string& frames, const Usage* usage,
                         WriteChoices write_choices) const {
  chunk(frames, usage, write_choices, [](JsonWriter&) {});
}

void OpenAiWriter::begin(int choices, std::string& frames) {
  if (wire_.endpoint != Endpoint::chat) return;
  // What comes behind it may have been written, and counted, before.
  const int counted = std::exchange(so_far_.completion_tokens, 0);
  for (int index = 0; index < choices; ++index) {
    chunk(frames, nullptr, [&](JsonWriter& json) { write_no_delta(json, index, true); });
  }
  so_far_.completion_tokens = counted;
}

void OpenAiWriter::write_no_delta(JsonWriter& json, int choice, bool begins) const {
  json.begin_object();
  json.member("index", choice);
  if (wire_.endpoint == Endpoint::chat) {
    json.key("delta");
    json.begin_object();
    if (begins) {
      json.member("role", "assistant");
      json.member("content", "");
    }
    json.end_object();
  } else {
    json.member("text", "");
  }
  json.null_member("logprobs");
  json.null_member("finish_reason");
  json.end_object();
}

void OpenAiWriter::progress(const PromptProgress& progress, std::string& frames) {
  chunk(
      frames, nullptr, [&](JsonWriter& json) { write_no_delta(json, 0, false); },
      [&](JsonWriter& json) {
        json.key("prompt_progress");
        json.begin_object();
        json.member("total", progress.total);
        json.member("cache", progress.cached);
        json.member("processed", progress.processed);
        json.member("time_ms", static_cast<std::int64_t>(progress.seconds * 1e3));
        json.end_object();
      });
}

void OpenAiWriter::write_delta(JsonWriter& json, const TextDelta& delta) const {
  json.begin_object();
  switch (delta.channel) {
    case AnswerChannel::content:
      if (!delta.finish) json.member("content", delta.text);
      break;
    case AnswerChannel::reasoning:
      json.member("reasoning_content", delta.text);
      json.member("reasoning", delta.text);
      break;
    case AnswerChannel::tool_name:
    case AnswerChannel::tool_arguments: {
      const bool begins = delta.channel == AnswerChannel::tool_name;
      json.key(wire_.legacy_functions ? "function_call" : "tool_calls");
      if (!wire_.legacy_functions) {
        json.begin_array();
        json.begin_object();
        json.member("index", delta.call);
        if (begins) {
          json.member("id", make_call_id());
          json.member("type", "function");
        }
        json.key("function");
      }
      if (begins) {
        write_function(json, delta.text, "");
      } else {
        json.begin_object();
        json.member("arguments", delta.text);
        json.end_object();
      }
      if (!wire_.legacy_functions) {
        json.end_object();
        json.end_array();
      }
    }
  }
  json.end_object();
}

void OpenAiWriter::add(const TextDelta& delta, std::string& frames) {
  int& tokens = tokens_[delta.choice];
  so_far_.completion_tokens += std::max(delta.tokens - tokens, 0);
  tokens = std::max(tokens, delta.tokens);
  const bool content = delta.channel == AnswerChannel::content;
  if (!content && wire_.endpoint != Endpoint::chat) return;
  if (delta.channel == AnswerChannel::tool_name) callers_.insert(delta.choice);
  const bool has_tokens = content && wire_.logprobs && !delta.details.empty();
  if (delta.text.empty() && !has_tokens && !delta.finish) return;
  chunk(frames, nullptr, [&](JsonWriter& json) {
    json.begin_object();
    json.member("index", delta.choice);
    if (wire_.endpoint == Endpoint::chat) {
      json.key("delta");
      write_delta(json, delta);
    } else {
      json.member("text", delta.text);
    }
    if (has_tokens) {
      write_logprobs(json, wire_, delta.details, delta.offsets);
    } else {
      json.null_member("logprobs");
    }
    json.key("finish_reason");
    if (delta.finish) {
      json.string(finish_name(wire_, *delta.finish, callers_.contains(delta.choice)));
    } else {
      json.null();
    }
    json.end_object();
  });
}

void OpenAiWriter::end(const Usage& usage, std::string& frames) {
  if (wire_.include_usage) chunk(frames, &usage, [](JsonWriter&) {});
  frames += "data: [DONE]\n\n";
}

// In a chat a chunk that adds nothing, and no comment: agents give up after some minutes without a
// chunk (Qwen Code after four), however alive the connection is.
void OpenAiWriter::keep_alive(std::string& frames) {
  if (wire_.endpoint == Endpoint::chat) {
    chunk(frames, nullptr, [](JsonWriter& json) {
      json.begin_object();
      json.member("index", 0);
      json.key("delta");
      json.begin_object();
      json.end_object();
      json.null_member("logprobs");
      json.null_member("finish_reason");
      json.end_object();
    });
  } else {
    frames += ": keep-alive\n\n";
  }
}

void OpenAiWriter::fail(const Error& error, std::string& frames) {
  frames += "data: " + error_json(error) + "\n\ndata: [DONE]\n\n";
}

}  // namespace mlxd::api
