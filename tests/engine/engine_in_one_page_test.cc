// The loop of docs/engine-in-one-page.md, compiled and run.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/block_manager.h"
#include "engine/fake/fake_runner.h"
#include "engine/model_runner.h"
#include "engine/sampler.h"

namespace mlxd::one_page {
namespace {

#include "engine/engine_in_one_page.h"

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Sequence> prompts() {
  return {{.tokens = {1, 2, 3, 4, 5, 6, 7}, .blocks = {}, .computed = 0, .end = 20},
          {.tokens = {8, 9}, .blocks = {}, .computed = 0, .end = 30},
          {.tokens = {5}, .blocks = {}, .computed = 0, .end = 3}};
}

TEST(EngineInOnePage, SequencesComputedTogetherSayWhatEachSaysAlone) {
  FakeRunner runner({});
  BlockManager pool(32);
  std::vector<Sequence> together = prompts();
  generate(runner, pool, together);
  EXPECT_EQ(pool.used(), 0);
  std::vector<Sequence> alone = prompts();
  for (std::size_t i = 0; i < alone.size(); ++i) {
    BlockManager own(32);
    generate(runner, own, std::span(alone).subspan(i, 1));
    EXPECT_EQ(alone[i].tokens.size(), alone[i].end);
    EXPECT_EQ(alone[i].tokens, together[i].tokens);
  }
}

TEST(EngineInOnePage, ThePageShowsThisLoop) {
  const std::filesystem::path tests = MLXD_TEST_DATA;
  EXPECT_THAT(
      read(tests / "../docs/engine-in-one-page.md"),
      ::testing::HasSubstr("```cpp\n" + read(tests / "engine/engine_in_one_page.h") + "```"));
}

}  // namespace
}  // namespace mlxd::one_page
