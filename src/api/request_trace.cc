#include "api/request_trace.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "api/request_log.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

using tracing::Span;

constexpr std::size_t kLongestName = 200;  // bytes of a model's name as a client wrote it

// gen_ai.operation.name of an endpoint; one that the conventions have no word for is its own.
std::string_view operation_of(std::string_view endpoint) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kOperations = {{
      {"chat", "chat"},
      {"messages", "chat"},
      {"responses", "chat"},
      {"ollama_chat", "chat"},
      {"completions", "text_completion"},
      {"ollama_generate", "text_completion"},
      {"ollama_embed", "embeddings"},
      {"ollama_embeddings", "embeddings"},
  }};
  for (const auto& [name, operation] : kOperations) {
    if (name == endpoint) return operation;
  }
  return endpoint;
}

std::string shortened(std::string_view name) {
  if (name.size() <= kLongestName) return std::string(name);
  name = name.substr(0, kLongestName);
  return std::string(name.substr(0, complete_utf8_prefix(name)));
}

// Of what was sent; 0: nothing was.
int http_status(const RequestRecord& record) {
  if (record.began_stream) return 200;
  return record.outcome == Outcome::cancelled ? 0 : record.status;
}

// "stop,length"
std::vector<std::string> parts_of(std::string_view list) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start < list.size();) {
    const std::size_t comma = std::min(list.find(',', start), list.size());
    parts.emplace_back(list.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

void describe(Span& span, const RequestRecord& record) {
  const auto add = [&span](std::string_view name, tracing::AttributeValue value) {
    span.attributes.push_back({name, std::move(value)});
  };
  span.attributes.reserve(18);
  add("gen_ai.operation.name", std::string(operation_of(record.endpoint)));
  add("gen_ai.provider.name", std::string("mlxd"));
  const std::string& asked = record.ask.name.empty() ? record.model : record.ask.name;
  if (!asked.empty()) add("gen_ai.request.model", shortened(asked));
  if (!record.model.empty()) {
    add("gen_ai.response.model", record.model);
    add("gen_ai.request.stream", record.stream);
  }
  if (record.prompt_tokens > 0) {
    add("gen_ai.usage.input_tokens", std::int64_t{record.prompt_tokens});
    add("gen_ai.usage.cache_read.input_tokens", std::int64_t{record.cached_tokens});
  }
  if (record.prompt_tokens > 0 || record.completion_tokens > 0) {
    add("gen_ai.usage.output_tokens", std::int64_t{record.completion_tokens});
  }
  if (record.outcome == Outcome::completed && !record.finish.empty()) {
    add("gen_ai.response.finish_reasons", parts_of(record.finish));
  }
  add("http.request.method", std::string("POST"));
  add("http.route", std::string(record.path));
  add("url.path", std::string(record.path));
  add("url.scheme", std::string("http"));
  add("http.response.header.x-request-id", std::vector<std::string>{record.id});
  const int status = http_status(record);
  if (status != 0) add("http.response.status_code", std::int64_t{status});
  if (record.outcome == Outcome::completed) return;
  // A code such as "queue_full"; of a client that left before the end it is "cancelled".
  const bool has_code = record.outcome != Outcome::cancelled && !record.finish.empty();
  const std::string reason = has_code ? record.finish : std::string(outcome_name(record.outcome));
  add("error.type", reason);
  // As HTTP servers do it: a client's mistake is no failure of the server.
  span.failed = record.outcome != Outcome::cancelled && record.status >= 500;
  if (span.failed) span.failure = reason;
}

}  // namespace

std::vector<Span> spans_of(const RequestRecord& record, const tracing::WallClock& clock,
                           const std::function<tracing::SpanId()>& new_id) {
  const tracing::SpanContext& context = *record.trace;
  const double total = record.total_seconds;
  // Parts lie within the request, whatever rounding and threads made of their times.
  const auto at = [&](double seconds) {
    return clock.at(after_seconds(record.arrived, std::clamp(seconds, 0.0, total)));
  };
  std::vector<Span> spans;
  spans.reserve(5);
  Span& request = spans.emplace_back();
  request.trace_id = context.trace_id;
  request.id = context.span_id;
  request.parent = context.parent;
  request.parent_is_remote = context.parent.has_value();
  request.trace_state = context.trace_state;
  request.kind = tracing::SpanKind::server;
  request.name = operation_of(record.endpoint);
  if (!record.model.empty()) request.name += " " + record.model;
  request.begin = at(0);
  request.end = at(total);
  describe(request, record);

  const auto add_part = [&](const char* name, double from, double to) {
    Span& part = spans.emplace_back();
    part.trace_id = context.trace_id;
    part.id = new_id();
    part.parent = context.span_id;
    part.trace_state = context.trace_state;
    part.name = name;
    part.begin = at(from);
    part.end = at(std::max(from, to));
  };
  if (record.ask.load_begun_seconds >= 0) {
    const double ended = record.ask.load_ended_seconds;
    add_part("load_model", record.ask.load_begun_seconds, ended < 0 ? total : ended);
  }
  if (record.accepted_seconds < 0) return spans;
  const bool has_text = record.first_token_seconds >= 0;
  const double read = has_text ? record.first_token_seconds : total;  // the prompt
  if (record.knows_queue) {
    const double begun = std::min(record.accepted_seconds + record.queue_seconds, read);
    add_part("queue", record.accepted_seconds, begun);
    add_part("prefill", begun, read);
  } else {
    add_part("queue_and_prefill", record.accepted_seconds, read);
  }
  if (has_text) add_part("decode", read, total);
  return spans;
}

}  // namespace mlxd::api
