#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/error.h"

namespace mlxd {

struct TokenLogprob {
  int token = 0;
  float logprob = 0;
};

// A token drawn for one sample of a request. The token that ended the sample by being a stop id is
// not delivered.
struct SampledToken {
  int sample = 0;
  int token = 0;
  float logprob = 0;              // when asked for
  std::vector<TokenLogprob> top;  // most likely first, when asked for
};

// One token of the prompt, when prompt log-probabilities were asked for (echo). In order, before
// any SampledToken. The first token has no log-probability.
struct PromptToken {
  int token = 0;
  bool has_logprob = false;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

// What a text was pooled into, as the model gives it.
struct PooledVector {
  int sample = 0;  // index of the text
  std::vector<float> values;
};

// How far a prompt has come, when that was asked for (GenerateJob::progress): after each step with
// rows of it, before any SampledToken.
struct PromptProgress {
  int total = 0;       // tokens
  int cached = 0;      // of these, found in the prefix cache
  int processed = 0;   // read so far, the cached ones included
  double seconds = 0;  // since the request began
};

enum class FinishReason { stop, length };

// A sample ended by itself: stop id, or its token limit.
struct SampleFinished {
  int sample = 0;
  FinishReason reason = FinishReason::stop;
  int token = -1;  // the stop id that ended it; -1: none
};

// The terminal event: exactly one for each accepted request, and the last.
struct RequestFinished {
  enum class Outcome { completed, cancelled, timeout, error } outcome = Outcome::completed;
  int cached_prompt_tokens = 0;
  Error error;  // for timeout and error
  // For the request log and metrics.
  double queue_seconds = 0;
};

using TokenEvent = std::variant<SampledToken, PromptToken, PromptProgress, PooledVector,
                                SampleFinished, RequestFinished>;

}  // namespace mlxd
