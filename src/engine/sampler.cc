#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/philox.h"

namespace mlxd {
namespace {

// Below this the division would leave the range of floats, and nothing but the maximum is drawn.
constexpr float kGreedyTemperature = 1e-5f;

Error unusable_logits() {
  return {500, "internal_error", "", "The model's output for this request is not finite."};
}

bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

const Candidate& median(const Candidate& a, const Candidate& b, const Candidate& c) {
  if (heavier(a, b)) return heavier(b, c) ? b : heavier(a, c) ? c : a;
  return heavier(a, c) ? a : heavier(b, c) ? c : b;
}

// Keeps the fewest heaviest candidates that weigh at least `target` together (top-p): quickselect
// by weight, linear in their number on average.
void keep_nucleus(std::vector<Candidate>& candidates, double target) {
  std::size_t in = 0;                   // [0, in) stay and weigh `weight`, which is below target
  std::size_t end = candidates.size();  // [end, ...) go
  double weight = 0;
  target = std::max(target, std::numeric_limits<double>::min());  // at least one stays
  while (end - in > 1) {
    const Candidate pivot =
        median(candidates[in], candidates[in + (end - in) / 2], candidates[end - 1]);
    const auto middle = std::partition(candidates.begin() + in, candidates.begin() + end,
                                       [&](const Candidate& c) { return heavier(c, pivot); });
    double upper = 0;
    for (auto it = candidates.begin() + in; it != middle; ++it) upper += it->weight;
    if (weight + upper >= target) {
      end = middle - candidates.begin();
      continue;
    }
    weight += upper + pivot.weight;
    in = middle - candidates.begin() + 1;
    std::iter_swap(middle, std::find_if(middle, candidates.begin() + end, [&](const Candidate& c) {
                     return c.token == pivot.token;
                   }));
    if (weight >= target) end = in;
  }
  candidates.resize(end);
}

}  // namespace

Result<SampledToken> Sampler::draw(std::span<float> logits, const Draw& wanted) {
  const SamplingParams& params = *wanted.params;
  if (!row_.load(logits)) return unusable_logits();
  // Log-probabilities are the model's own: taken before anything is adjusted.
  double log_total = 0;
  SampledToken drawn;
  drawn.sample = wanted.sample;
  if (params.logprobs) {
    log_total = row_.maximum() + std::log(row_.weigh(1));
    drawn.top = top_logprobs(params.top_logprobs, log_total);
  }
  if (!wanted.allowed.empty()) row_.mask(wanted.allowed);
  adjust(wanted);
  const float maximum = row_.maximum();
  const bool drawable = std::isfinite(maximum);
  if (drawable) {
    drawn.token = choose(params, uniform_draw(params.seed, wanted.sample, wanted.index));
  }
  restore();
  if (!drawable) {
    return Error{500, "internal_error", "", "No token is left to draw: all are forbidden."};
  }
  if (params.logprobs) drawn.logprob = static_cast<float>(row_[drawn.token] - log_total);
  return drawn;
}

Result<Sampler::Score> Sampler::score(std::span<float> logits, int token, int top) {
  if (!row_.load(logits)) return unusable_logits();
  const double log_total = row_.maximum() + std::log(row_.weigh(1));
  return Score{static_cast<float>(row_[token] - log_total), top_logprobs(top, log_total)};
}

std::vector<TokenLogprob> Sampler::top_logprobs(int count, double log_total) {
  std::vector<TokenLogprob> top;
  if (count <= 0) return top;
  row_.largest(count, candidates_);
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  for (const Candidate& candidate : candidates_) {
    top.push_back({candidate.token, static_cast<float>(candidate.logit - log_total)});
  }
  return top;
}

void Sampler::adjust(const Draw& wanted) {
  const SamplingParams& params = *wanted.params;
  for (const LogitBias& bias : params.logit_bias) {
    change(bias.token, row_[bias.token] + bias.bias);
  }
  if (has_penalties(params)) {
    for (const auto& [token, count] : wanted.counts->counts()) {
      float logit = row_[token];
      if (!std::isfinite(logit)) continue;  // not allowed
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      if (count.in_output > 0) {
        logit -= params.presence_penalty + params.frequency_penalty * count.in_output;
      }
      constexpr float kMost = std::numeric_limits<float>::max();
      change(token, std::clamp(logit, -kMost, kMost));
    }
  }
  for (const int token : wanted.forbidden) {
    change(token, -std::numeric_limits<float>::infinity());
  }
  for (const auto& [token, before] : changed_) row_.refresh(token);
}

void Sampler::change(int token, float logit) {
  changed_.emplace_back(token, row_[token]);
  row_.set(token, logit);
}

void Sampler::restore() {
  for (auto it = changed_.rbegin(); it != changed_.rend(); ++it) row_.set(it->first, it->second);
  changed_.clear();
}

int Sampler::choose(const SamplingParams& params, double uniform) {
  if (params.temperature < kGreedyTemperature) return row_.argmax();
  const float scale = 1 / params.temperature;
  if (params.top_k > 0 && params.top_k < row_.size()) {
    row_.largest(params.top_k, candidates_);
    row_.weigh_candidates(scale, candidates_);
    if (params.top_p < 1) keep_nucleus(candidates_, params.top_p * total_weight());
  } else if (params.top_p < 1) {
    const double total = row_.weigh(scale, /*keep_weights=*/true);
    row_.heaviest(params.top_p * total, total, candidates_);
    keep_nucleus(candidates_, params.top_p * total);
  } else if (params.min_p > 0) {
    // A little low: the weights themselves decide.
    const double distance = (std::log(params.min_p) - 1e-3) * params.temperature;
    row_.at_least(static_cast<float>(row_.maximum() + distance), candidates_);
    row_.weigh_candidates(scale, candidates_);
  } else {
    const double total = row_.weigh(scale);
    return row_.draw(uniform * total);
  }
  if (params.min_p > 0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < params.min_p; });
  }
  return draw_candidate(uniform);
}

double Sampler::total_weight() const {
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += candidate.weight;
  return sum;
}

int Sampler::draw_candidate(double uniform) const {
  double target = uniform * total_weight();
  int token = candidates_.front().token;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight <= 0) continue;
    token = candidate.token;
    if (target < candidate.weight) break;
    target -= candidate.weight;
  }
  return token;
}

}  // namespace mlxd
