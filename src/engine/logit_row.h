#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace mlxd {

struct Candidate {
  int token = 0;
  float logit = 0;
  float weight = 0;  // not normalised probability
};

// exp(x) for x <= 0 to 2 ulp, 0 below -87; without branches, so that loops over it vectorise.
// Argument reduction and polynomial as in Cephes' expf.
inline float exp_nonpositive(float x) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;  // rounds to an integer
  const float n = shifted - 12582912.0f;
  const float r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const auto scaled = std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23);
  return x < -87.0f ? 0.0f : std::bit_cast<float>(scaled);
}

// One row of logits with the maximum of each block of 64, by which everything that looks for large
// logits skips the rest of a vocabulary of a quarter of a million. Reused from row to row.
class LogitRow {
 public:
  static constexpr int kBlock = 64;

  // Views the logits until the next call; false when one of them is not finite.
  bool load(std::span<float> logits);
  int size() const { return static_cast<int>(logits_.size()); }
  float operator[](int token) const { return logits_[token]; }
  void set(int token, float logit);  // refresh() follows, before anything else is asked
  void refresh(int token);           // brings the maximum of the token's block up to date

  float maximum() const;
  int argmax() const;  // the lowest token of the largest logit

  // The `count` largest, not ordered; on a tie the lower token is the larger. weight is not set.
  void largest(int count, std::vector<Candidate>& out) const;
  // All that are at least `threshold`, by token. weight is not set.
  void at_least(float threshold, std::vector<Candidate>& out) const;

  // Sum of exp(scale * (logit - maximum())); keeps each block's own for draw().
  double exp_sum(float scale);
  // The token at which the running sum of the last exp_sum reaches `target` of it in [0, sum).
  int draw(float scale, double target) const;

 private:
  std::span<const float> block(int index) const;

  std::span<float> logits_;
  std::vector<float> maxima_, sums_;  // [blocks]
  mutable std::vector<float> ordered_maxima_;
};

}  // namespace mlxd
