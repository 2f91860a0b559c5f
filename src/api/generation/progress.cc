#include "api/generation/progress.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "tracing/tracer.h"

namespace mlxd::api {
namespace {

// Of a header that came several times (RFC 9110, 5.3).
std::string joined_values(const http::Headers& headers, std::string_view lower_case_name) {
  std::string joined;
  for (const auto& [name, value] : headers) {
    if (name != lower_case_name) continue;
    if (!joined.empty()) joined += ',';
    joined += value;
  }
  return joined;
}

}  // namespace

Progress::Progress(GenerationShared& shared, const http::Request& request, const Dialect& dialect)
    : observer_(shared.observer) {
  record_.arrived = Clock::now();
  record_.id = request.id;
  record_.endpoint = dialect.name();
  record_.path = dialect.path();
  if (shared.tracer != nullptr) {
    record_.trace = shared.tracer->begin(joined_values(request.headers, "traceparent"),
                                         joined_values(request.headers, "tracestate"));
  }
}

Progress::~Progress() {
  record_.total_seconds = seconds_between(record_.arrived, Clock::now());
  observer_.ended(record_);
}

void Progress::accepted(const ParsedRequest& request, std::size_t prompts) {
  record_.accepted_seconds = seconds_between(record_.arrived, Clock::now());
  record_.model = request.model->id;
  record_.stream = request.stream;
  samples_ = request.job.samples;
  choices_.resize(prompts * static_cast<std::size_t>(samples_));
}

void Progress::note(int prompt, const GenerationEvent& event) {
  if (const auto* delta = std::get_if<TextDelta>(&event)) {
    if (!delta->vector.empty()) return;  // no token is late
    if (delta->finish) {
      if (!record_.finish.empty()) record_.finish += ',';
      record_.finish += *delta->finish == FinishReason::stop ? "stop" : "length";
    } else {
      const int choice = prompt * samples_ + delta->choice;
      ++choices_[static_cast<std::size_t>(choice)].fresh;
      ++record_.completion_tokens;  // until the end says the exact number
    }
  } else if (const auto* end = std::get_if<GenerationEnd>(&event)) {
    record_.prompt_tokens += end->usage.prompt_tokens;
    record_.cached_tokens += end->usage.cached_prompt_tokens;
    record_.queue_seconds = std::max(record_.queue_seconds, end->queue_seconds);
    record_.knows_queue = true;
  }
}

// Pieces that were waiting together share the time since the choice's last one.
void Progress::measure() {
  const auto now = Clock::now();
  for (auto& choice : choices_) {
    if (choice.fresh == 0) continue;
    if (record_.first_token_seconds < 0) {
      record_.first_token_seconds = seconds_between(record_.arrived, now);
      observer_.first_token(record_.first_token_seconds);
    }
    if (choice.begun) {
      const double each = seconds_between(choice.last, now) / choice.fresh;
      for (int i = 0; i < choice.fresh; ++i) observer_.between_tokens(each);
    }
    choice.begun = true;
    choice.last = now;
    choice.fresh = 0;
  }
}

void Progress::refused(const Error& error) {
  record_.status = error.status;
  record_.outcome = error.status == 504   ? Outcome::timeout
                    : error.status == 500 ? Outcome::error
                                          : Outcome::refused;
  record_.finish = error.code;
}

void Progress::failed(const Error& error) {
  record_.status = error.status;
  record_.outcome = error.status == 504 ? Outcome::timeout : Outcome::error;
  record_.finish = error.code;
}

void Progress::completed(const Usage& usage, double queue_seconds) {
  record_.status = 200;
  record_.outcome = Outcome::completed;
  record_.prompt_tokens = usage.prompt_tokens;
  record_.cached_tokens = usage.cached_prompt_tokens;
  record_.completion_tokens = usage.completion_tokens;
  record_.queue_seconds = queue_seconds;
}

AnswerTimes Progress::times() const {
  AnswerTimes times;
  times.end = seconds_between(record_.arrived, Clock::now());
  times.first_token = record_.first_token_seconds < 0 ? times.end : record_.first_token_seconds;
  times.prompt_begun =
      std::min(record_.accepted_seconds + record_.queue_seconds, times.first_token);
  return times;
}

}  // namespace mlxd::api
