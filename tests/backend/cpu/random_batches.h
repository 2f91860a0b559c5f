// Whether a runner gives a row the same bits whatever is computed with it.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/sequence_driver.h"

namespace mlxd::cpu {

inline std::vector<int> random_tokens(int count, unsigned seed, int vocab_size = 50) {
  std::mt19937 random(seed);
  std::vector<int> tokens(count);
  for (int& token : tokens) token = static_cast<int>(random() % vocab_size);
  return tokens;
}

// Of a sequence in these tests the part that is a prompt; its other tokens were generated.
inline int prompt_length(const std::vector<int>& tokens) {
  return static_cast<int>(tokens.size()) * 2 / 3;
}

// What each position's logits are when a sequence is computed alone, a token a step, on one thread.
inline SequenceDriver::Logits alone(const ModelPlan& plan, const std::string& isa,
                                    const std::vector<std::vector<int>>& prompts,
                                    KvFormat format = KvFormat::f16) {
  const auto runner = make_cpu_runner(plan, {.threads = 1, .isa = isa, .kv_format = format});
  SequenceDriver driver(*runner, 200);
  SequenceDriver::Logits all;
  for (const std::vector<int>& prompt : prompts) {
    const int sequence = driver.add(prompt, prompt_length(prompt));
    while (driver.left(sequence) > 0) all.merge(driver.step({{sequence, 1}}));
  }
  return all;
}

// Runs random batches until every sequence of `prompts` is computed; compares what each row gives.
inline int run_random_batches(const ModelPlan& plan, const CpuOptions& options, unsigned seed,
                              const std::vector<std::vector<int>>& prompts,
                              const SequenceDriver::Logits& expected) {
  const auto runner = make_cpu_runner(plan, options);
  SequenceDriver driver(*runner, 200, seed);
  std::mt19937 random(seed);
  for (const auto& prompt : prompts) driver.add(prompt, prompt_length(prompt));
  int steps = 0;
  while (true) {
    std::vector<SequenceDriver::Part> parts;
    for (int s = 0; s < static_cast<int>(prompts.size()); ++s) {
      const int left = driver.left(s);
      if (left == 0 || random() % 2 == 0) continue;
      const int most = random() % 4 == 0 ? 70 : 3;
      parts.push_back({s, std::min<int>(left, 1 + random() % most)});
    }
    std::shuffle(parts.begin(), parts.end(), random);
    if (parts.empty()) {
      bool done = true;
      for (int s = 0; s < static_cast<int>(prompts.size()); ++s) done &= driver.left(s) == 0;
      if (done) return steps;
      continue;
    }
    ++steps;
    const unsigned rarity = 1 + random() % 8;  // every row's logits, or few, or none
    for (const auto& [row, logits] :
         driver.step(parts, [&](int) { return rarity < 8 && random() % rarity == 0; })) {
      if (logits == expected.at(row)) continue;
      ADD_FAILURE() << options.isa << ", " << options.threads << " threads, seed " << seed
                    << ": other bits at position " << row.second << " of " << row.first;
      return steps;
    }
  }
}

}  // namespace mlxd::cpu
