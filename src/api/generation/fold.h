// The fold of a request's events into an answer. A streamed answer sends each TextDelta as it
// comes; one that is not streamed adds the same deltas up. That both say the same is thereby a
// property of the code, and tested.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "serve/text_delta.h"

namespace mlxd::api {

// Turns the events of all prompts of one request into deltas whose choices count over the prompts:
// prompt * samples + sample. One thread at a time.
class AnswerFold {
 public:
  // `prompt_tokens`: of each prompt.
  AnswerFold(const std::vector<int>& prompt_tokens, int samples);

  // Appends what the event adds. Events of a prompt come in order; prompts in any interleaving.
  void apply(int prompt, GenerationEvent event, std::vector<TextDelta>& deltas);

  // How far all prompts have come together, where that is news since the last call.
  std::optional<PromptProgress> take_progress();

  int choices() const { return prompts_ * samples_; }
  // Every prompt had its GenerationEnd, or one of them ended badly.
  bool finished() const { return error_ || ended_ == prompts_; }
  // Why the request failed: the first prompt that did not complete.
  const std::optional<Error>& error() const { return error_; }
  const Usage& usage() const { return usage_; }  // of the prompts that ended
  double queue_seconds() const { return queue_seconds_; }

 private:
  void end(GenerationEnd end);

  const int prompts_;
  const int samples_;
  int ended_ = 0;
  Usage usage_;
  double queue_seconds_ = 0;
  std::vector<PromptProgress> progress_;  // by prompt
  bool progressed_ = false;
  std::optional<Error> error_;
};

// The choices that an answer shows which was not streamed: of each prompt's `samples` the `shown`
// with the best mean log-probability (all of them, in their order, when none is to be dropped).
std::vector<ChoiceText> best_choices(std::vector<ChoiceText> all, int samples, int shown);

}  // namespace mlxd::api
