#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/sequence_driver.h"
#include "backend/cpu/speculation.h"
#include "model/model_files.h"

namespace mlxd::cpu {
namespace {

const std::filesystem::path kSmolLM2 =
    std::filesystem::path(MLXD_TEST_MODELS) / "SmolLM2-135M-Instruct.Q4_1.gguf";

std::vector<int> tokens_of(const ModelFiles& files, const std::vector<std::string>& texts) {
  const std::vector<std::string>& vocabulary = files.vocabulary.tokens;
  std::vector<int> tokens;
  for (const std::string& text : texts) {
    const auto found = std::find(vocabulary.begin(), vocabulary.end(), text);
    EXPECT_NE(found, vocabulary.end()) << text;
    tokens.push_back(static_cast<int>(found - vocabulary.begin()));
  }
  return tokens;
}

TEST(RunnerOnSmolLM2, ContinuesAKnownSentence) {
  if (!std::filesystem::exists(kSmolLM2)) GTEST_SKIP() << kSmolLM2 << " is not there";
  const ModelFiles files = open_model(kSmolLM2);
  const std::vector<std::string>& vocabulary = files.vocabulary.tokens;
  const std::vector<int> tokens = tokens_of(files, {"The", "Ġcapital", "Ġof", "ĠFrance", "Ġis"});
  const auto runner = make_cpu_runner(files.plan, {});
  SequenceDriver driver(*runner, 4);
  const int sequence = driver.add(tokens);
  const std::vector<float> logits = driver.step({{sequence, 5}}).rbegin()->second;
  EXPECT_EQ(vocabulary[std::max_element(logits.begin(), logits.end()) - logits.begin()], "ĠParis");
}

TEST(RunnerOnSmolLM2, AnswersARepeatingPromptTheSameWithDraftsAndWithout) {
  if (!std::filesystem::exists(kSmolLM2)) GTEST_SKIP() << kSmolLM2 << " is not there";
  const ModelFiles files = open_model(kSmolLM2);
  const std::vector<int> sentence =
      tokens_of(files, {"The", "Ġcapital", "Ġof", "ĠFrance", "Ġis", "ĠParis", ".", "Ġ"});
  std::vector<int> prompt;
  for (int i = 0; i < 8; ++i) prompt.insert(prompt.end(), sentence.begin(), sentence.end());
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(mlxd::testing::job_of(prompt, 64, i));
    jobs.back().sampling.temperature = 0.4f * static_cast<float>(i);
    jobs.back().sampling.logprobs = true;
  }
  EXPECT_GT(expect_same_answers_with_drafts(files.plan, jobs), 40u);
}

}  // namespace
}  // namespace mlxd::cpu
