#include "api/generation/fold.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>
#include <variant>

namespace mlxd::api {
namespace {

// An answer without any token says nothing: it loses against every other.
double mean_logprob(const ChoiceText& choice) {
  double sum = 0;
  int counted = 0;
  for (const TextDelta& part : choice) {
    for (const TokenDetail& token : part.details) {
      if (!token.has_logprob) continue;
      sum += token.logprob;
      ++counted;
    }
  }
  return counted > 0 ? sum / counted : -std::numeric_limits<double>::infinity();
}

Error end_error(GenerationEnd end) {
  Error error = std::move(end.error);
  switch (end.outcome) {
    case RequestFinished::Outcome::timeout:
      error.status = 504;
      error.code = "timeout";
      if (error.message.empty()) {
        error.message =
            "The request ran past its time limit; ask for fewer tokens or send a "
            "greater 'timeout'.";
      }
      break;
    case RequestFinished::Outcome::cancelled:
      error.status = 503;
      error.code = "cancelled";
      if (error.message.empty()) error.message = "The server ended this request; send it again.";
      break;
    case RequestFinished::Outcome::error:
    case RequestFinished::Outcome::completed:
      if (error.status < 500) error.status = 500;
      if (error.code.empty()) error.code = "internal_error";
      if (error.message.empty()) error.message = "The server failed to generate an answer.";
      break;
  }
  return error;
}

}  // namespace

AnswerFold::AnswerFold(const std::vector<int>& prompt_tokens, int samples)
    : prompts_(static_cast<int>(prompt_tokens.size())), samples_(samples) {
  for (const int tokens : prompt_tokens) progress_.push_back({.total = tokens});
}

std::optional<PromptProgress> AnswerFold::take_progress() {
  if (!std::exchange(progressed_, false)) return std::nullopt;
  PromptProgress all;
  for (const PromptProgress& one : progress_) {
    all.total += one.total;
    all.cached += one.cached;
    all.processed += one.processed;
    all.seconds = std::max(all.seconds, one.seconds);
  }
  return all;
}

void AnswerFold::apply(int prompt, GenerationEvent event, std::vector<TextDelta>& deltas) {
  const int first = prompt * samples_;
  if (const auto* progress = std::get_if<PromptProgress>(&event)) {
    progress_[static_cast<std::size_t>(prompt)] = *progress;
    progressed_ = true;
  } else if (auto* echo = std::get_if<PromptEcho>(&event)) {
    for (int sample = 0; sample < samples_; ++sample) {
      deltas.push_back(echo->delta);
      deltas.back().choice = first + sample;
    }
  } else if (auto* delta = std::get_if<TextDelta>(&event)) {
    delta->choice += first;
    deltas.push_back(std::move(*delta));
  } else {
    end(std::get<GenerationEnd>(std::move(event)));
  }
}

void AnswerFold::end(GenerationEnd end) {
  ++ended_;
  usage_.prompt_tokens += end.usage.prompt_tokens;
  usage_.completion_tokens += end.usage.completion_tokens;
  usage_.reasoning_tokens += end.usage.reasoning_tokens;
  usage_.cached_prompt_tokens += end.usage.cached_prompt_tokens;
  queue_seconds_ = std::max(queue_seconds_, end.queue_seconds);
  if (end.outcome != RequestFinished::Outcome::completed && !error_) {
    error_ = end_error(std::move(end));
  }
}

std::vector<ChoiceText> best_choices(std::vector<ChoiceText> all, int samples, int shown) {
  if (samples == shown) return all;
  std::vector<ChoiceText> best;
  const auto step = static_cast<std::size_t>(samples);
  for (std::size_t first = 0; first < all.size(); first += step) {
    std::vector<std::pair<double, std::size_t>> ranking;
    for (std::size_t i = first; i < first + step; ++i) {
      ranking.emplace_back(-mean_logprob(all[i]), i);
    }
    std::sort(ranking.begin(), ranking.end());
    for (std::size_t i = 0; i < static_cast<std::size_t>(shown); ++i) {
      best.push_back(std::move(all[ranking[i].second]));
    }
  }
  return best;
}

}  // namespace mlxd::api
