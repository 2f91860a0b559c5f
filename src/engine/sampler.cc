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
  return {500, "internal_error", "", "the model's output for this request is not finite"};
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

Result<SampledToken> Sampler::draw(std::span<float> logits, const Request& request) {
  const SamplingParams& params = *request.params;
  if (!row_.load(logits)) return unusable_logits();
  // Log-probabilities are the model's own: taken before anything is adjusted.
  double log_total = 0;
  SampledToken drawn;
  drawn.sample = request.sample;
  if (params.logprobs) {
    log_total = row_.maximum() + std::log(row_.exp_sum(1));
    drawn.top = top_logprobs(params.top_logprobs, log_total);
  }
  adjust(request);
  const float maximum = row_.maximum();
  const bool drawable = std::isfinite(maximum);
  if (drawable) {
    drawn.token = choose(params, uniform_draw(params.seed, request.sample, request.index));
  }
  restore();
  if (!drawable) {
    return Error{500, "internal_error", "", "no token is left to draw: all are forbidden"};
  }
  if (params.logprobs) drawn.logprob = static_cast<float>(row_[drawn.token] - log_total);
  return drawn;
}

Result<Sampler::Score> Sampler::score(std::span<float> logits, int token, int top) {
  if (!row_.load(logits)) return unusable_logits();
  const double log_total = row_.maximum() + std::log(row_.exp_sum(1));
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

void Sampler::adjust(const Request& request) {
  const SamplingParams& params = *request.params;
  for (const LogitBias& bias : params.logit_bias) {
    change(bias.token, row_[bias.token] + bias.bias);
  }
  if (has_penalties(params)) {
    for (const auto& [token, count] : request.counts->counts()) {
      float logit = row_[token];
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      if (count.in_output > 0) {
        logit -= params.presence_penalty + params.frequency_penalty * count.in_output;
      }
      change(token, logit);
    }
  }
  for (const int token : request.forbidden) {
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
  const float maximum = row_.maximum();
  double total = 0;
  if (params.top_k > 0 && params.top_k < row_.size()) {
    row_.largest(params.top_k, candidates_);
  } else if (params.top_p < 1) {
    total = row_.exp_sum(scale);
    // What weighs less than an even share of the tail is in the tail, whatever its order; the
    // candidates may be a few more than needed, never fewer.
    const double share = (1 - static_cast<double>(params.top_p)) * total / row_.size();
    row_.at_least(static_cast<float>(maximum + (std::log(share) - 1e-3) / scale), candidates_);
  } else if (params.min_p > 0) {
    row_.at_least(static_cast<float>(maximum + (std::log(params.min_p) - 1e-3) / scale),
                  candidates_);
  } else {
    total = row_.exp_sum(scale);
    return row_.draw(scale, uniform * total);
  }
  for (Candidate& candidate : candidates_) {
    candidate.weight = exp_nonpositive((candidate.logit - maximum) * scale);
  }
  return choose_among_candidates(params, total, uniform);
}

// `total` is what top_p is a part of; 0: the candidates' own.
int Sampler::choose_among_candidates(const SamplingParams& params, double total, double uniform) {
  const auto weigh = [this] {
    double sum = 0;
    for (const Candidate& candidate : candidates_) sum += candidate.weight;
    return sum;
  };
  if (params.top_p < 1) keep_nucleus(candidates_, params.top_p * (total > 0 ? total : weigh()));
  if (params.min_p > 0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < params.min_p; });
  }
  double target = uniform * weigh();
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
