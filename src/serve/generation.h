// serve: what stands between the wire and the engine: a model with its tokeniser and template
// (ServedModel, which models/ keeps and leases), prompts made on the text pool (Service), and token
// events turned into text events (Generation). It knows neither HTTP nor the wire's JSON.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"

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
  int completion_tokens = 0;
  int cached_prompt_tokens = 0;
};

// Whole characters of one sample's text. `tokens` are those whose text began in this piece or
// earlier pieces that were empty (filled when log-probabilities were asked for).
struct TextPiece {
  int sample = 0;
  std::string text;
  std::vector<TokenDetail> tokens;
};
// The prompt's own text (echo), before anything else of the sample.
struct PromptEcho {
  std::string text;
  std::vector<TokenDetail> tokens;  // with log-probabilities, when asked for
};
struct SampleEnd {
  int sample = 0;
  FinishReason reason = FinishReason::stop;
  int completion_tokens = 0;
};
// Exactly one, and the last.
struct GenerationEnd {
  RequestFinished::Outcome outcome = RequestFinished::Outcome::completed;
  Usage usage;
  Error error;
  double queue_seconds = 0;  // from RequestFinished, for the request log and metrics
};
using StreamEvent = std::variant<PromptEcho, TextPiece, SampleEnd, GenerationEnd>;

// One accepted prompt on its way through the engine: folds token events into text, one Detokenizer
// and StopMatcher a sample. One thread at a time. Destroying it cancels.
class Generation {
 public:
  struct Options {
    std::vector<std::string> stop;
    bool echo = false;
    std::string echo_text;        // what to echo; "": the decoded prompt
    bool prompt_details = false;  // the engine was asked for the prompt's log-probabilities
    bool token_details = false;
    bool continues_prompt = false;  // the answer goes on in the middle of the prompt's text
  };
  Generation(RequestHandle handle, std::shared_ptr<const Tokenizer> tokenizer, Options options,
             std::vector<int> prompt, int samples);
  Generation(Generation&&) noexcept;
  ~Generation();

  std::optional<StreamEvent> try_next();                   // never blocks
  std::optional<StreamEvent> next_until(TimePoint limit);  // for the command line and tests
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxd
