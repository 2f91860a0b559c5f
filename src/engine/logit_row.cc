#include "engine/logit_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

namespace mlxd {
namespace {

constexpr int kBlock = LogitRow::kBlock;
constexpr int kLanes = 16;  // independent accumulators: a fixed order of additions that vectorises
constexpr float kLowest = std::numeric_limits<float>::lowest();

struct BlockScan {
  float maximum;
  float difference;  // 0 when all are finite, else NaN
};

BlockScan scan(const float* x) {
  std::array<float, kLanes> maximum, difference;
  for (int lane = 0; lane < kLanes; ++lane) {
    maximum[lane] = x[lane];
    difference[lane] = x[lane] - x[lane];
  }
  for (int i = kLanes; i < kBlock; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      maximum[lane] = value > maximum[lane] ? value : maximum[lane];
      difference[lane] += value - value;
    }
  }
  BlockScan result{maximum[0], difference[0]};
  for (int lane = 1; lane < kLanes; ++lane) {
    result.maximum = maximum[lane] > result.maximum ? maximum[lane] : result.maximum;
    result.difference += difference[lane];
  }
  return result;
}

float sum_of_exponentials(const float* x, float maximum, float scale) {
  std::array<float, kLanes> sums{};
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      sums[lane] += exp_nonpositive((x[i + lane] - maximum) * scale);
    }
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

// Calls visit(index, 64 floats) for each block; the last one is filled up with the lowest float.
template <class Visit>
void for_each_block(std::span<const float> logits, Visit visit) {
  const int whole = static_cast<int>(logits.size()) / kBlock;
  for (int index = 0; index < whole; ++index) visit(index, logits.data() + index * kBlock);
  const auto rest = logits.subspan(static_cast<std::size_t>(whole) * kBlock);
  if (rest.empty()) return;
  std::array<float, kBlock> padded;
  padded.fill(kLowest);
  std::copy(rest.begin(), rest.end(), padded.begin());
  visit(whole, padded.data());
}

bool larger(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

bool LogitRow::load(std::span<float> logits) {
  logits_ = logits;
  maxima_.resize((logits.size() + kBlock - 1) / kBlock);
  float difference = 0;
  for_each_block(logits_, [&](int index, const float* x) {
    const BlockScan block = scan(x);
    maxima_[index] = block.maximum;
    difference += block.difference;
  });
  return difference == 0;
}

void LogitRow::set(int token, float logit) { logits_[token] = logit; }

void LogitRow::refresh(int token) {
  const auto values = block(token / kBlock);
  maxima_[token / kBlock] = *std::max_element(values.begin(), values.end());
}

std::span<const float> LogitRow::block(int index) const {
  const std::size_t first = static_cast<std::size_t>(index) * kBlock;
  return logits_.subspan(first, std::min<std::size_t>(kBlock, logits_.size() - first));
}

float LogitRow::maximum() const { return *std::max_element(maxima_.begin(), maxima_.end()); }

int LogitRow::argmax() const {
  const auto best = std::max_element(maxima_.begin(), maxima_.end());
  const int index = static_cast<int>(best - maxima_.begin());
  const auto values = block(index);
  return index * kBlock + static_cast<int>(std::find(values.begin(), values.end(), *best) - values.begin());
}

void LogitRow::largest(int count, std::vector<Candidate>& out) const {
  float threshold = -std::numeric_limits<float>::infinity();
  if (count < static_cast<int>(maxima_.size())) {
    // That many blocks hold a logit as large as the count-th largest maximum.
    ordered_maxima_ = maxima_;
    std::nth_element(ordered_maxima_.begin(), ordered_maxima_.begin() + (count - 1),
                     ordered_maxima_.end(), std::greater<>());
    threshold = ordered_maxima_[count - 1];
  }
  at_least(threshold, out);
  if (count < static_cast<int>(out.size())) {
    std::nth_element(out.begin(), out.begin() + count, out.end(), larger);
    out.resize(count);
  }
}

void LogitRow::at_least(float threshold, std::vector<Candidate>& out) const {
  out.clear();
  for (int index = 0; index < static_cast<int>(maxima_.size()); ++index) {
    if (maxima_[index] < threshold) continue;
    const auto values = block(index);
    for (int i = 0; i < static_cast<int>(values.size()); ++i) {
      if (values[i] >= threshold) out.push_back({index * kBlock + i, values[i], 0});
    }
  }
}

double LogitRow::exp_sum(float scale) {
  const float top = maximum();
  sums_.resize(maxima_.size());
  double total = 0;
  for_each_block(logits_, [&](int index, const float* x) {
    sums_[index] = sum_of_exponentials(x, top, scale);
    total += sums_[index];
  });
  return total;
}

int LogitRow::draw(float scale, double target) const {
  const float top = maximum();
  int chosen = 0;  // the last block with any weight, should rounding carry the target past the end
  for (int index = 0; index < static_cast<int>(sums_.size()); ++index) {
    if (sums_[index] <= 0) continue;
    chosen = index;
    if (target < sums_[index]) break;
    target -= sums_[index];
  }
  const auto values = block(chosen);
  int token = 0;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    const float weight = exp_nonpositive((values[i] - top) * scale);
    if (weight <= 0) continue;
    token = chosen * kBlock + i;
    if (target < weight) break;
    target -= weight;
  }
  return token;
}

}  // namespace mlxd
