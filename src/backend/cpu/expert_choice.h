#pragma once

#include <span>
#include <vector>

#include "model/model_plan.h"

namespace mlxd::cpu {

struct ChosenExpert {
  int expert = 0;
  float weight = 0;
};

// Scratch memory of one worker.
struct ExpertScratch {
  std::vector<float> merits;  // [E], what the choice is made by
  std::vector<int> order;
  std::vector<float> groups;
};

// The experts that a row with these scores [E] goes to, the best first and of equal ones the one of
// the lower number; `scores` is overwritten. chosen: [choice.chosen].
void choose_experts(const ExpertChoice& choice, std::span<float> scores, ExpertScratch& scratch,
                    std::span<ChosenExpert> chosen);

}  // namespace mlxd::cpu
