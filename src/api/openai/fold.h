// The fold of StreamEvents into an answer. A streamed answer sends each ChoiceDelta as it comes; a
// non-streamed one adds the same deltas up. That both say the same is thereby a property of the
// code, and tested.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/openai/request.h"
#include "base/error.h"
#include "serve/generation.h"

namespace mlxd::api {

// What one event adds to one choice (choices count over prompts: prompt * samples + sample).
struct ChoiceDelta {
  int choice = 0;
  std::string text;
  std::vector<TokenDetail> tokens;
  std::vector<int> offsets;  // of each token in the choice's text, in characters
  std::optional<FinishReason> finish;
};

// A choice so far: its deltas, added up.
struct Choice {
  std::string text;
  std::vector<TokenDetail> tokens;
  std::vector<int> offsets;
  std::optional<FinishReason> finish;
  void add(ChoiceDelta delta);
};

// Where each token of a choice begins in its text, in characters (code points) as OpenAI counts. A
// token that begins inside a character gets the place of that character. A special token takes none
// where its bytes are shown in the log-probabilities alone and not in the text.
class OffsetCounter {
 public:
  explicit OffsetCounter(std::function<bool(int token)> is_special = {})
      : is_special_(std::move(is_special)) {}
  std::vector<int> next(std::string_view text, const std::vector<TokenDetail>& tokens);

 private:
  std::function<bool(int token)> is_special_;
  int characters_ = 0;
  std::string held_;  // the begun character's bytes
  bool text_begun_ = false;
};

// Turns the events of all prompts of one request into deltas. One thread at a time.
class ResponseFold {
 public:
  ResponseFold(int prompts, int samples, const std::function<bool(int token)>& is_special = {});

  // Appends what the event adds. Events of a prompt come in order; prompts in any interleaving.
  void apply(int prompt, StreamEvent event, std::vector<ChoiceDelta>& deltas);

  int choices() const { return static_cast<int>(offsets_.size()); }
  // Every prompt had its GenerationEnd, or one of them ended badly.
  bool finished() const { return error_ || ended_ == prompts_; }
  // Why the request failed: the first prompt that did not complete.
  const std::optional<Error>& error() const { return error_; }
  bool timed_out() const { return error_ && error_->status == 504; }
  const Usage& usage() const { return usage_; }  // of the prompts that ended
  double queue_seconds() const { return queue_seconds_; }

 private:
  void end(GenerationEnd end);

  const int prompts_;
  const int samples_;
  std::vector<OffsetCounter> offsets_;
  int ended_ = 0;
  Usage usage_;
  double queue_seconds_ = 0;
  std::optional<Error> error_;
};

// The choices that a non-streamed answer shows: of each prompt's samples the `choices` with the
// best mean log-probability (all of them, in their order, when none is to be dropped).
std::vector<Choice> best_choices(std::vector<Choice> all, const WireOptions& wire);

}  // namespace mlxd::api
