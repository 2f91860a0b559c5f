#include "backend/cpu/expert_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace mlxd::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Without the sum that would make them probabilities, which is returned.
float exponentiate(std::span<float> scores) {
  const float highest = *std::ranges::max_element(scores);
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - highest);
  return sum;
}

// The scores before those chosen are known.
void score(ExpertScoring scoring, std::span<float> scores) {
  switch (scoring) {
    case ExpertScoring::softmax: {
      const float sum = exponentiate(scores);
      for (float& score : scores) score /= sum;
      break;
    }
    case ExpertScoring::softmax_chosen:
      break;
    case ExpertScoring::sigmoid:
      for (float& score : scores) score = 1 / (1 + std::exp(-score));
      break;
    case ExpertScoring::sqrt_softplus:
      // log(1 + exp(s)) without overflow.
      for (float& score : scores) {
        score = std::sqrt(std::max(score, 0.0f) + std::log1p(std::exp(-std::abs(score))));
      }
  }
}

// Ranks the first `count` of `order` by `merits`, best first.
void rank(std::span<const float> merits, int count, std::vector<int>& order) {
  order.resize(merits.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int a, int b) {
    return merits[a] != merits[b] ? merits[a] > merits[b] : a < b;
  });
}

// Leaves the experts of all but the best groups without merit.
void keep_best_groups(const ExpertChoice& choice, ExpertScratch& scratch) {
  const std::size_t size = scratch.merits.size() / choice.groups;
  scratch.groups.clear();
  for (int group = 0; group < choice.groups; ++group) {
    float best = kNever, second = kNever;
    for (const float merit : std::span(scratch.merits).subspan(group * size, size)) {
      if (merit > best) {
        second = std::exchange(best, merit);
      } else {
        second = std::max(second, merit);
      }
    }
    scratch.groups.push_back(size > 1 && !choice.groups_by_best ? best + second : best);
  }
  rank(scratch.groups, choice.chosen_groups, scratch.order);
  for (int i = choice.chosen_groups; i < choice.groups; ++i) {
    std::fill_n(scratch.merits.begin() + scratch.order[i] * size, size, kNever);
  }
}

}  // namespace

void choose_experts(const ExpertChoice& choice, std::span<float> scores, ExpertScratch& scratch,
                    std::span<ChosenExpert> chosen) {
  // A row whose numbers went astray goes anywhere, and hurts none but itself.
  for (float& score : scores) {
    if (!std::isfinite(score)) score = 0;
  }
  score(choice.scoring, scores);
  scratch.merits.assign(scores.begin(), scores.end());
  for (std::size_t i = 0; i < choice.bias.size(); ++i) scratch.merits[i] += choice.bias[i];
  if (choice.chosen_groups < choice.groups) keep_best_groups(choice, scratch);
  rank(scratch.merits, choice.chosen, scratch.order);
  for (int i = 0; i < choice.chosen; ++i) {
    const int expert = scratch.order[i];
    chosen[i] = {expert, scores[expert]};
  }
  float sum = 0;
  if (choice.scoring == ExpertScoring::softmax_chosen) {
    const float highest = std::ranges::max_element(chosen, {}, &ChosenExpert::weight)->weight;
    for (ChosenExpert& each : chosen) sum += each.weight = std::exp(each.weight - highest);
  } else if (choice.normalised) {
    for (const ChosenExpert& each : chosen) sum += each.weight;
  }
  const float factor = sum > 0 ? choice.scale / sum : choice.scale;
  for (ChosenExpert& each : chosen) {
    each.weight *= factor;
    if (!choice.expert_scales.empty()) each.weight *= choice.expert_scales[each.expert];
  }
}

}  // namespace mlxd::cpu
