#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/logit_kernels.h"

namespace mlxd {

struct Candidate {
  int token = 0;
  float logit = 0;
  float weight = 0;  // not normalised probability
};

// One row of logits with the maximum of each block of 64, by which everything that looks for large
// logits skips the rest of a vocabulary of a quarter of a million. Reused from row to row.
class LogitRow {
 public:
  explicit LogitRow(const LogitKernels& kernels = logit_kernels()) : kernels_(kernels) {}

  // Views the logits until the next call; false when one of them is not finite.
  bool load(std::span<float> logits);
  // Views a copy from here on in which the tokens whose bit is 0 have -infinity: one word for 32
  // tokens, the lowest bit first.
  void mask(std::span<const std::uint32_t> allowed);
  int size() const { return static_cast<int>(logits_.size()); }
  float operator[](int token) const { return logits_[token]; }
  void set(int token, float logit) { logits_[token] = logit; }
  // Brings the maximum of the token's block up to date; owed for each set() before anything else.
  void refresh(int token);

  float maximum() const;
  int argmax() const;  // the lowest token of the largest logit

  // The `count` largest, not ordered; on a tie the lower token is the larger. weight is not set.
  void largest(int count, std::vector<Candidate>& out) const;
  // All that are at least `threshold`, by token. weight is not set.
  void at_least(float threshold, std::vector<Candidate>& out) const;

  // A token's weight is exp(scale * (logit - maximum())).
  void weigh_candidates(float scale, std::vector<Candidate>& candidates) const;
  // weigh() gives the sum over all tokens and
  // keeps each block's own; the next two refer to the last call of it.
  double weigh(float scale, bool keep_weights = false);
  // The token at which the running sum of the weights reaches `target`, in [0, sum).
  int draw(double target) const;
  // All tokens of weight >= some threshold, with their weights: at least as many as together weigh
  // `target`, and not many more. After weigh(scale, true).
  void heaviest(double target, double sum, std::vector<Candidate>& out) const;

 private:
  int blocks() const { return static_cast<int>(maxima_.size()); }
  std::span<const float> block(int index) const;
  // Calls visit(logits, first block, blocks): the whole blocks where they lie, then the last one,
  // filled up with the lowest float.
  template <class Visit>
  void visit_blocks(Visit visit) const;

  const LogitKernels& kernels_;
  std::span<float> logits_;
  std::vector<float> maxima_, sums_;  // [blocks]
  std::vector<float> weights_;        // [blocks, kLogitBlock]
  std::vector<float> masked_;         // [blocks, kLogitBlock]
  float exponent_scale_ = 1;          // of the last weigh(): a weight is 2^(that * (logit - top_))
  float top_ = 0;
  mutable std::vector<float> ordered_maxima_;
};

}  // namespace mlxd
