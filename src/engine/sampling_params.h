#pragma once

#include <cstdint>
#include <vector>

namespace mlxd {

struct LogitBias {
  int token = 0;
  float bias = 0;
};

// How the next token is drawn. Ranges are checked by api/; an out-of-range token id in logit_bias
// was refused there. Order: bias, penalties, temperature, top_k, top_p, min_p.
struct SamplingParams {
  float temperature = 1;  // 0: the most likely token, lowest id on a tie
  float top_p = 1;
  float min_p = 0;               // drop what is below min_p times the most likely
  int top_k = 0;                 // 0: off
  float repetition_penalty = 1;  // over prompt and output (Keskar et al. 2019)
  float presence_penalty = 0,
        frequency_penalty = 0;  // over the output alone, as OpenAI defines them
  std::uint64_t seed = 0;
  std::vector<LogitBias> logit_bias;
  bool logprobs = false;  // log-probability of each token under the model's own distribution
  int top_logprobs = 0;   // and of that many alternatives, 0..20
};

}  // namespace mlxd
