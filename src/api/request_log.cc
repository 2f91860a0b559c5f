#include "api/request_log.h"

#include <chrono>
#include <exception>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "api/json_writer.h"

namespace mlxd::api {
namespace {

double milliseconds(double seconds) {
  return static_cast<double>(static_cast<long>(seconds * 1e4)) / 10;
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::completed:
      return "completed";
    case Outcome::refused:
      return "refused";
    case Outcome::cancelled:
      return "cancelled";
    case Outcome::timeout:
      return "timeout";
    case Outcome::error:
      break;
  }
  return "error";
}

RequestLog::RequestLog(std::shared_ptr<spdlog::logger> logger, bool json)
    : logger_(std::move(logger)), json_(json) {}

void RequestLog::write(const RequestRecord& record) const noexcept try {
  logger_->info("{}", json_ ? json_line(record) : text_line(record));
} catch (const std::exception&) {  // no memory for the line
  logger_->error("a request's line could not be written");
}

std::string RequestLog::text_line(const RequestRecord& record) {
  const auto first = record.first_token_seconds < 0
                         ? std::string("-")
                         : fmt::format("{:.1f}", record.first_token_seconds * 1e3);
  std::string line = fmt::format(
      "{} {}{} model={} status={} outcome={} finish={} in={} cached={} out={} queue_ms={:.1f} "
      "first_ms={} total_ms={:.1f}",
      record.id, record.endpoint, record.stream ? "+stream" : "",
      record.model.empty() ? "-" : record.model, record.status, outcome_name(record.outcome),
      record.finish.empty() ? "-" : record.finish, record.prompt_tokens, record.cached_tokens,
      record.completion_tokens, record.queue_seconds * 1e3, first, record.total_seconds * 1e3);
  if (record.trace) line += " trace=" + tracing::to_hex(record.trace->trace_id);
  return line;
}

std::string RequestLog::json_line(const RequestRecord& record) {
  std::string line;
  JsonWriter json(line);
  json.begin_object();
  const auto now = std::chrono::system_clock::now();
  json.member("time", fmt::format("{:%Y-%m-%dT%H:%M:%S}Z",
                                  fmt::gmtime(std::chrono::system_clock::to_time_t(now))));
  json.member("id", record.id);
  json.member("endpoint", record.endpoint);
  json.member("model", record.model);
  json.member("stream", record.stream);
  json.member("status", record.status);
  json.member("outcome", outcome_name(record.outcome));
  json.member("finish_reason", record.finish);
  json.member("prompt_tokens", record.prompt_tokens);
  json.member("cached_tokens", record.cached_tokens);
  json.member("completion_tokens", record.completion_tokens);
  json.member("queue_ms", milliseconds(record.queue_seconds));
  if (record.first_token_seconds >= 0) {
    json.member("first_token_ms", milliseconds(record.first_token_seconds));
  } else {
    json.null_member("first_token_ms");
  }
  json.member("total_ms", milliseconds(record.total_seconds));
  if (record.trace) {  // names as in OpenTelemetry's logs
    json.member("trace_id", tracing::to_hex(record.trace->trace_id));
    json.member("span_id", tracing::to_hex(record.trace->span_id));
  }
  json.end_object();
  return line;
}

RequestLog make_request_log(bool json) {
  if (!json) return {spdlog::default_logger(), false};
  auto logger = std::make_shared<spdlog::logger>("requests",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  return {std::move(logger), true};
}

}  // namespace mlxd::api
