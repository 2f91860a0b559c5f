#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>

#include "engine/sampling_params.h"

namespace mlxd {

// How often each token stands in a sequence, kept up to date token by token for the penalties.
class TokenCounts {
 public:
  struct Count {
    bool in_prompt = false;
    int in_output = 0;
  };

  void add_prompt(std::span<const int> tokens) {
    for (const int token : tokens) counts_[token].in_prompt = true;
  }
  void add_output(int token) { ++counts_[token].in_output; }
  const std::unordered_map<int, Count>& counts() const { return counts_; }

 private:
  std::unordered_map<int, Count> counts_;
};

// One token to be drawn from a row's logits. What it points to lives until it is drawn.
struct Draw {
  int wanted = 0;  // index into Batch::wanted: whose logits; several draws may share a row
  const SamplingParams* params = nullptr;  // the seed among them
  int sample = 0;
  std::uint64_t index = 0;  // of the token in its sample: the counter of its random number
  const TokenCounts* counts = nullptr;  // of the sequence so far; read when there are penalties
  std::span<const int> forbidden{};     // stop ids before min_tokens
  std::span<const std::uint32_t> allowed{};  // a bit for each token, the lowest first; empty: all
};

}  // namespace mlxd
