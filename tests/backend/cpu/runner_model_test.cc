#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/sequence_driver.h"
#include "model/model_files.h"

namespace mlxd::cpu {
namespace {

TEST(RunnerOnSmolLM2, ContinuesAKnownSentence) {
  const std::filesystem::path path =
      std::filesystem::path(MLXD_TEST_MODELS) / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const ModelFiles files = open_model(path);
  const std::vector<std::string>& vocabulary = files.vocabulary.tokens;
  std::vector<int> tokens;
  for (const char* text : {"The", "Ġcapital", "Ġof", "ĠFrance", "Ġis"}) {
    const auto found = std::find(vocabulary.begin(), vocabulary.end(), text);
    ASSERT_NE(found, vocabulary.end());
    tokens.push_back(static_cast<int>(found - vocabulary.begin()));
  }
  const auto runner = make_cpu_runner(files.plan, {});
  SequenceDriver driver(*runner, 4);
  const int sequence = driver.add(tokens);
  const std::vector<float> logits = driver.step({{sequence, 5}}).rbegin()->second;
  EXPECT_EQ(vocabulary[std::max_element(logits.begin(), logits.end()) - logits.begin()], "ĠParis");
}

}  // namespace
}  // namespace mlxd::cpu
