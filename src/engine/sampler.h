#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/draw.h"
#include "engine/logit_row.h"
#include "engine/sampling_params.h"
#include "engine/token_event.h"

namespace mlxd {

inline bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
         params.frequency_penalty != 0;
}

// Draws tokens from rows of logits as SamplingParams says. It never sorts a vocabulary: see
// LogitRow. Holds scratch memory, so one Sampler a thread.
class Sampler {
 public:
  explicit Sampler(const LogitKernels& kernels = logit_kernels()) : row_(kernels) {}

  // `logits` [vocab_size] are changed and put back. An Error when they are not finite, or when
  // nothing is left to draw.
  Result<SampledToken> draw(std::span<float> logits, const Draw& wanted);

  // Log-probability of a token, with the `top` most likely ones, under softmax(logits).
  struct Score {
    float logprob = 0;
    std::vector<TokenLogprob> top;  // most likely first
  };
  Result<Score> score(std::span<float> logits, int token, int top);

 private:
  int choose(const SamplingParams& params, double uniform);
  double total_weight() const;
  int draw_candidate(double uniform) const;
  void adjust(const Draw& wanted);
  void change(int token, float logit);
  void restore();
  std::vector<TokenLogprob> top_logprobs(int count, double log_total);

  LogitRow row_;
  std::vector<Candidate> candidates_;
  std::vector<std::pair<int, float>> changed_;  // token, logit before
};

}  // namespace mlxd
