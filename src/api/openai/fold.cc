#include "api/openai/fold.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "base/utf8.h"

namespace mlxd::api {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

int count_characters(std::string_view utf8) {
  return static_cast<int>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// An answer without any token says nothing: it loses against every other.
double mean_logprob(const Choice& choice) {
  if (choice.tokens.empty()) return -std::numeric_limits<double>::infinity();
  double sum = 0;
  int counted = 0;
  for (const auto& token : choice.tokens) {
    if (!token.has_logprob) continue;
    sum += token.logprob;
    ++counted;
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

void Choice::add(ChoiceDelta delta) {
  text += delta.text;
  append(tokens, std::move(delta.tokens));
  append(offsets, std::move(delta.offsets));
  if (delta.finish) finish = delta.finish;
}

std::vector<int> OffsetCounter::next(std::string_view text,
                                     const std::vector<TokenDetail>& tokens) {
  std::vector<int> offsets;
  offsets.reserve(tokens.size());
  std::size_t at = 0;  // bytes of `text` that the tokens so far account for
  for (const auto& token : tokens) {
    offsets.push_back(characters_);
    std::string_view bytes = token.bytes;
    const bool special = is_special_ && is_special_(token.token);
    if (special && text.substr(std::min(at, text.size())).substr(0, bytes.size()) != bytes)
      continue;
    // The decoder may have dropped the first token's leading space (SentencePiece).
    if (!text_begun_ && !bytes.empty()) {
      text_begun_ = true;
      if (bytes.front() == ' ' && !text.empty() && text.front() != ' ') bytes.remove_prefix(1);
    }
    at += bytes.size();
    held_ += bytes;
    const auto whole = complete_utf8_prefix(held_);
    characters_ += count_characters(replace_invalid_utf8(held_.substr(0, whole)));
    held_.erase(0, whole);
  }
  return offsets;
}

ResponseFold::ResponseFold(int prompts, int samples,
                           const std::function<bool(int token)>& is_special)
    : prompts_(prompts),
      samples_(samples),
      offsets_(static_cast<std::size_t>(prompts) * static_cast<std::size_t>(samples),
               OffsetCounter(is_special)) {}

void ResponseFold::apply(int prompt, StreamEvent event, std::vector<ChoiceDelta>& deltas) {
  const auto emit = [&](int sample, std::string text, std::vector<TokenDetail> tokens) {
    ChoiceDelta delta;
    delta.choice = prompt * samples_ + sample;
    delta.offsets = offsets_[static_cast<std::size_t>(delta.choice)].next(text, tokens);
    delta.text = std::move(text);
    delta.tokens = std::move(tokens);
    deltas.push_back(std::move(delta));
  };
  if (auto* echo = std::get_if<PromptEcho>(&event)) {
    for (int sample = 0; sample < samples_; ++sample) emit(sample, echo->text, echo->tokens);
  } else if (auto* piece = std::get_if<TextPiece>(&event)) {
    if (!piece->text.empty() || !piece->tokens.empty()) {
      emit(piece->sample, std::move(piece->text), std::move(piece->tokens));
    }
  } else if (auto* sample_end = std::get_if<SampleEnd>(&event)) {
    ChoiceDelta delta;
    delta.choice = prompt * samples_ + sample_end->sample;
    delta.finish = sample_end->reason;
    deltas.push_back(std::move(delta));
  } else {
    end(std::get<GenerationEnd>(std::move(event)));
  }
}

void ResponseFold::end(GenerationEnd end) {
  ++ended_;
  usage_.prompt_tokens += end.usage.prompt_tokens;
  usage_.completion_tokens += end.usage.completion_tokens;
  usage_.cached_prompt_tokens += end.usage.cached_prompt_tokens;
  queue_seconds_ = std::max(queue_seconds_, end.queue_seconds);
  if (end.outcome != RequestFinished::Outcome::completed && !error_) {
    error_ = end_error(std::move(end));
  }
}

std::vector<Choice> best_choices(std::vector<Choice> all, const WireOptions& wire) {
  if (wire.samples == wire.choices) return all;
  std::vector<Choice> best;
  const auto samples = static_cast<std::size_t>(wire.samples);
  for (std::size_t first = 0; first < all.size(); first += samples) {
    std::vector<std::pair<double, std::size_t>> ranking;
    for (std::size_t i = first; i < first + samples; ++i) {
      ranking.emplace_back(-mean_logprob(all[i]), i);
    }
    std::sort(ranking.begin(), ranking.end());
    for (std::size_t i = 0; i < static_cast<std::size_t>(wire.choices); ++i) {
      best.push_back(std::move(all[ranking[i].second]));
    }
  }
  return best;
}

}  // namespace mlxd::api
