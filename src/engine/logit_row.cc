#include "engine/logit_row.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace mlxd {
namespace {

// So many candidates are cheaper to look at than another pass over the vocabulary.
constexpr int kFewCandidates = 4096;
constexpr int kMaxNarrowing = 8;
constexpr float kLog2e = 1.44269504f;

bool larger(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

template <class Visit>
void LogitRow::visit_blocks(Visit visit) const {
  const int whole = size() / kLogitBlock;
  visit(logits_.data(), 0, whole);
  const auto rest = logits_.subspan(static_cast<std::size_t>(whole) * kLogitBlock);
  if (rest.empty()) return;
  std::array<float, kLogitBlock> padded;
  padded.fill(std::numeric_limits<float>::lowest());
  std::copy(rest.begin(), rest.end(), padded.begin());
  visit(padded.data(), whole, 1);
}

bool LogitRow::load(std::span<float> logits) {
  logits_ = logits;
  maxima_.resize((logits.size() + kLogitBlock - 1) / kLogitBlock);
  float difference = 0;
  visit_blocks([&](const float* x, int first, int count) {
    difference += kernels_.maxima(x, count, maxima_.data() + first);
  });
  return difference == 0;
}

void LogitRow::mask(std::span<const std::uint32_t> allowed) {
  constexpr int kWords = kLogitBlock / 32;
  masked_.resize(maxima_.size() * kLogitBlock);
  visit_blocks([&](const float* x, int first, int count) {
    const auto words = allowed.subspan(static_cast<std::size_t>(first) * kWords);
    std::array<std::uint32_t, kWords> last{};
    const std::uint32_t* bits = words.data();
    if (words.size() < static_cast<std::size_t>(count) * kWords) {
      std::ranges::copy(words, last.begin());
      bits = last.data();
    }
    kernels_.mask(x, count, bits, masked_.data() + static_cast<std::size_t>(first) * kLogitBlock,
                  maxima_.data() + first);
  });
  logits_ = std::span(masked_).first(logits_.size());
}

void LogitRow::refresh(int token) {
  const auto values = block(token / kLogitBlock);
  maxima_[token / kLogitBlock] = *std::max_element(values.begin(), values.end());
}

std::span<const float> LogitRow::block(int index) const {
  const std::size_t first = static_cast<std::size_t>(index) * kLogitBlock;
  return logits_.subspan(first, std::min<std::size_t>(kLogitBlock, logits_.size() - first));
}

float LogitRow::maximum() const { return *std::max_element(maxima_.begin(), maxima_.end()); }

int LogitRow::argmax() const {
  const auto best = std::max_element(maxima_.begin(), maxima_.end());
  const int index = static_cast<int>(best - maxima_.begin());
  const auto values = block(index);
  const auto place = std::find(values.begin(), values.end(), *best);
  return index * kLogitBlock + static_cast<int>(place - values.begin());
}

void LogitRow::largest(int count, std::vector<Candidate>& out) const {
  float threshold = -std::numeric_limits<float>::infinity();
  if (count < blocks()) {
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
  for (int index = 0; index < blocks(); ++index) {
    if (maxima_[index] < threshold) continue;
    const auto values = block(index);
    for (int i = 0; i < static_cast<int>(values.size()); ++i) {
      if (values[i] >= threshold) out.push_back({index * kLogitBlock + i, values[i], 0});
    }
  }
}

void LogitRow::weigh_candidates(float scale, std::vector<Candidate>& candidates) const {
  const float top = maximum();
  for (Candidate& candidate : candidates) {
    candidate.weight = exp2_nonpositive((candidate.logit - top) * (scale * kLog2e));
  }
}

double LogitRow::weigh(float scale, bool keep_weights) {
  exponent_scale_ = scale * kLog2e;
  top_ = maximum();
  sums_.resize(maxima_.size());
  if (keep_weights) weights_.resize(maxima_.size() * kLogitBlock);
  visit_blocks([&](const float* x, int first, int count) {
    float* weights = keep_weights ? weights_.data() + first * kLogitBlock : nullptr;
    kernels_.exponentials(x, count, top_, exponent_scale_, sums_.data() + first, weights);
  });
  double total = 0;
  for (const float sum : sums_) total += sum;
  return total;
}

int LogitRow::draw(double target) const {
  int chosen = 0;  // the last block with any weight, should rounding carry the target past the end
  for (int index = 0; index < blocks(); ++index) {
    if (sums_[index] <= 0) continue;
    chosen = index;
    if (target < sums_[index]) break;
    target -= sums_[index];
  }
  const auto values = block(chosen);
  int token = 0;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    const float weight = exp2_nonpositive((values[i] - top_) * exponent_scale_);
    if (weight <= 0) continue;
    token = chosen * kLogitBlock + i;
    if (target < weight) break;
    target -= weight;
  }
  return token;
}

void LogitRow::heaviest(double target, double sum, std::vector<Candidate>& out) const {
  // All tokens lighter than an even share of what is above the target weigh less than that
  // together, so the rest suffices. Halving on a logarithmic scale narrows it where it is large.
  double low = (sum - target) / size();
  double high = 1;
  for (int i = 0; i < kMaxNarrowing && low < high; ++i) {
    const double middle = i == 0 ? low : std::sqrt(low * high);
    const auto [mass, count] =
        kernels_.at_least(weights_.data(), blocks(), static_cast<float>(middle));
    if (mass >= target) {
      low = middle;
      if (count <= kFewCandidates) break;
    } else {
      high = middle;
      if (i == 0) {  // the share was rounded up: take all
        low = 0;
        break;
      }
    }
  }
  out.clear();
  const float threshold = static_cast<float>(low);
  for (int index = 0; index < blocks(); ++index) {
    if (sums_[index] < threshold) continue;
    const auto values = block(index);
    const float* weights = weights_.data() + static_cast<std::size_t>(index) * kLogitBlock;
    for (int i = 0; i < static_cast<int>(values.size()); ++i) {
      if (weights[i] < threshold || weights[i] <= 0) continue;
      out.push_back({index * kLogitBlock + i, values[i], weights[i]});
    }
  }
}

}  // namespace mlxd
