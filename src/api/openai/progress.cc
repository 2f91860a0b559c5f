#include "api/openai/progress.h"

#include <utility>

#include "api/model_port.h"

namespace mlxd::api {

Progress::Progress(Metrics& metrics, const RequestLog& log, std::string id, Endpoint endpoint)
    : metrics_(metrics), log_(log) {
  record_.id = std::move(id);
  record_.endpoint = endpoint == Endpoint::chat ? "chat" : "completions";
}

Progress::~Progress() {
  record_.total_seconds = seconds_between(arrived_, Clock::now());
  metrics_.request_ended(record_);
  log_.write(record_);
}

void Progress::accepted(const ParsedRequest& request) {
  record_.model = request.model->id();
  record_.stream = request.wire.stream;
  samples_ = request.wire.samples;
  choices_.resize(request.prompts.size() * static_cast<std::size_t>(samples_));
}

void Progress::note(int prompt, const StreamEvent& event) {
  if (const auto* piece = std::get_if<TextPiece>(&event)) {
    const int choice = prompt * samples_ + piece->sample;
    ++choices_[static_cast<std::size_t>(choice)].fresh;
    ++record_.completion_tokens;  // until the end says the exact number
  } else if (const auto* sample_end = std::get_if<SampleEnd>(&event)) {
    if (!record_.finish.empty()) record_.finish += ',';
    record_.finish += sample_end->reason == FinishReason::stop ? "stop" : "length";
  } else if (const auto* end = std::get_if<GenerationEnd>(&event)) {
    record_.prompt_tokens += end->usage.prompt_tokens;
    record_.cached_tokens += end->usage.cached_prompt_tokens;
    record_.queue_seconds = std::max(record_.queue_seconds, end->queue_seconds);
  }
}

// Pieces that were waiting together share the time since the choice's last one.
void Progress::measure() {
  const auto now = Clock::now();
  for (auto& choice : choices_) {
    if (choice.fresh == 0) continue;
    if (record_.first_token_seconds < 0) {
      record_.first_token_seconds = seconds_between(arrived_, now);
      metrics_.first_token(record_.first_token_seconds);
    }
    if (choice.begun) {
      const double each = seconds_between(choice.last, now) / choice.fresh;
      for (int i = 0; i < choice.fresh; ++i) metrics_.between_tokens(each);
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

}  // namespace mlxd::api
