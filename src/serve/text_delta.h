// What comes out of a generation: deltas of text, each in its channel, and one end.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/token_event.h"

namespace mlxd {

// A token with the log-probabilities that the client asked for. `bytes` are the token's own and may
// be part of a character.
struct TokenDetail {
  int token = 0;
  std::string bytes;
  bool has_logprob = true;  // false: the first token of an echoed prompt
  float logprob = 0;
  struct Alternative {
    int token = 0;
    std::string bytes;
    float logprob = 0;
  };
  std::vector<Alternative> top;
};

struct Usage {
  int prompt_tokens = 0;
  int completion_tokens = 0;  // those that ended the answers included
  int cached_prompt_tokens = 0;
  int reasoning_tokens = 0;  // of the completion's, with the marks around them
};

// What a piece of an answer is, for those who read it.
enum class AnswerChannel { content, reasoning, tool_name, tool_arguments };

// What is added to one choice: text of whole characters, the details of the tokens that it begins
// with (when log-probabilities were asked for), or, last and by itself, why the choice ended.
struct TextDelta {
  int choice = 0;
  AnswerChannel channel = AnswerChannel::content;
  int call = -1;  // which of the choice's tool calls, from 0; -1 in the other channels
  std::string text;
  // Of tokens whose text begins in this delta, or had none and came before it.
  std::vector<TokenDetail> details;
  // For each of these where its text begins in the choice's text of this channel (and call), in
  // characters (code points). A token that begins inside of a character has the place of that one.
  std::vector<int> offsets;
  std::optional<FinishReason> finish;
  int tokens = 0;      // of the choice's answer so far, those that it says nothing of included
  std::string stop{};  // with `finish`: which of the request's stop strings it was; "": none
  // Of a text that was embedded, in place of all else: its vector, or its score alone.
  std::vector<float> vector{};
};

// A choice so far: its deltas in order, neighbours of one channel and call as one.
using ChoiceText = std::vector<TextDelta>;
void append(ChoiceText& choice, TextDelta delta);

// The prompt's own text (TextOptions::echo): every choice begins with it.
struct PromptEcho {
  TextDelta delta;
};

// Exactly one, and the last.
struct GenerationEnd {
  RequestFinished::Outcome outcome = RequestFinished::Outcome::completed;
  Usage usage;
  Error error;
  double queue_seconds = 0;  // from RequestFinished, for the request log and metrics
};

using GenerationEvent = std::variant<PromptProgress, PromptEcho, TextDelta, GenerationEnd>;

}  // namespace mlxd
