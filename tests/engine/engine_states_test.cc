// Models with recurrent states: what is kept of them, and who goes on from it. That answers are the
// same whatever is kept is the business of all other tests, in their combinations.
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/prefix_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

// States that take as much memory as 256 tokens of KV: none is kept within the prompts here but
// where they end, or their jobs say.
FakeOptions dear_states() {
  FakeOptions fake;
  fake.kv = {{.block_bytes = 1024}};
  fake.state_bytes = 64 << 10;
  return fake;
}

TEST(EngineStates, ATurnGoesOnFromTheEndOfTheLastAnswer) {
  auto engine = make_engine({.kv_blocks = 200}, dear_states());
  std::mt19937 random(1);
  const auto first = job_of(random_tokens(random, 40), 21);
  const Answer answer = run(*engine, first);
  EXPECT_EQ(cached(answer), 0);
  const auto history = joined(first.prompt, answer.tokens[0]);
  const auto second = job_of(joined(history, random_tokens(random, 9)), 20);
  const Answer next = run(*engine, second);
  EXPECT_EQ(cached(next), 60) << "all but the last token was in the cache";
  expect_same(next, run_alone(second, dear_states()));
}

TEST(EngineStates, APromptThatPartsBeforeItsEndGoesOnFromABorder) {
  std::mt19937 random(2);
  const auto common = random_tokens(random, 30);
  for (const bool with_border : {false, true}) {
    auto engine = make_engine({.kv_blocks = 200}, dear_states());
    auto first = job_of(joined(common, random_tokens(random, 25)), 5);
    if (with_border) first.borders = {30};
    run(*engine, first);
    const auto second = job_of(joined(common, random_tokens(random, 25)), 5);
    const Answer answer = run(*engine, second);
    EXPECT_EQ(cached(answer), with_border ? 28 : 0);
    expect_same(answer, run_alone(second, dear_states()));
  }
}

TEST(EngineStates, TheSamePromptIsFoundUpToTheBlockOfItsLastToken) {
  auto engine = make_engine({.kv_blocks = 200}, dear_states());
  std::mt19937 random(3);
  for (const int length : {5, 40, 41, 44}) {
    const auto job = job_of(random_tokens(random, length), 3);
    const Answer first = run(*engine, job);
    const Answer second = run(*engine, job);
    EXPECT_EQ(cached(second), (length - 1) / 4 * 4);
    expect_same(second, first);
  }
}

TEST(EngineStates, TheirMemoryIsCountedBesideTheBlocks) {
  FakeOptions fake = dear_states();
  EngineOptions options{.max_running_sequences = 4, .kv_bytes = std::size_t{4} << 20};
  auto engine = make_engine(options, fake);
  std::mt19937 random(4);
  run(*engine, job_of(random_tokens(random, 40), 10));
  ASSERT_TRUE(eventually([&] { return engine->stats().states_used == 0; }));
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.states_total, 32) << "half of the memory";
  EXPECT_GE(stats.states_cached, 2);
  EXPECT_EQ(stats.memory.states, stats.states_cached * fake.state_bytes);
  EXPECT_EQ(stats.memory.kv_reserved, 32 * fake.state_bytes + stats.kv_blocks_total * 1024);
  EXPECT_LE(stats.memory.kv_reserved, options.kv_bytes);
}

TEST(EngineStates, AModelWithoutKvServesAsManyAsHaveAState) {
  FakeOptions fake;
  fake.kv = {};
  fake.state_bytes = 1024;
  auto engine = make_engine({.kv_bytes = 12 << 10}, fake);
  std::vector<GenerateJob> jobs;
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) jobs.push_back(job_of(random_tokens(random, 10 + i), 20, i));
  const auto answers = run_in_waves(*engine, jobs, 20);
  for (std::size_t i = 0; i < jobs.size(); ++i) expect_same(answers[i], run_alone(jobs[i], fake));
}

// In slots that are scarce everybody saves in place, and every second step or so fails.
TEST(EngineStates, StepsThatFailInPlaceCostTimeAndNobodysAnswer) {
  std::vector<GenerateJob> jobs;
  std::mt19937 random(6);
  for (int i = 0; i < 12; ++i) jobs.push_back(job_of(random_tokens(random, 20 + 3 * i), 25, i));
  FakeOptions fake = dear_states();
  std::vector<Answer> expected;
  for (const GenerateJob& job : jobs) expected.push_back(run_alone(job, fake));
  auto in_place = std::make_shared<int>(0);
  fake.before_step = [in_place, random = std::mt19937(7)](const Batch& batch,
                                                          std::uint64_t) mutable {
    // Alone in a step, a request would be guilty.
    if (batch.sequences.size() < 2) return;
    for (const BatchSequence& sequence : batch.sequences) {
      *in_place += !sequence.saves.empty() && sequence.saves.back().slot == sequence.state;
    }
    if (random() % 4 == 0) throw std::runtime_error("injected");
  };
  auto engine = make_engine({.max_running_sequences = 8, .kv_blocks = 300, .state_slots = 9}, fake);
  const auto answers = run_in_waves(*engine, jobs, 12);
  for (std::size_t i = 0; i < jobs.size(); ++i) expect_same(answers[i], expected[i]);
  EXPECT_GT(*in_place, 20);
}

class StatesOnDisk : public ::testing::Test {
 protected:
  Answer run_once(const GenerateJob& job) {
    EngineOptions options{.kv_blocks = 200};
    options.prefix_disk.directory = folder_.path();
    options.prefix_disk.model = [] { return "a model"; };
    auto engine = make_engine(options, dear_states());
    const Answer answer = run(*engine, job);
    EXPECT_TRUE(eventually([&] { return engine->stats().prefix_store.blocks >= files_; }));
    return answer;
  }

  TemporaryFolder folder_;
  std::size_t files_ = 0;  // that an engine is to write before it ends
};

// 64 KiB in files of 1 KiB: more of them than blocks.
TEST_F(StatesOnDisk, AreFoundAfterARestart) {
  std::mt19937 random(8);
  const auto first = job_of(random_tokens(random, 40), 21);
  files_ = 15 + 2 * 64;
  const Answer answer = run_once(first);
  const auto second =
      job_of(joined(joined(first.prompt, answer.tokens[0]), random_tokens(random, 9)), 20);
  const Answer next = run_once(second);
  EXPECT_EQ(cached(next), 60);
  expect_same(next, run_alone(second, dear_states()));
  EXPECT_EQ(cached(run_once(first)), 36) << "or from the end of its prompt";
}

TEST_F(StatesOnDisk, ADamagedPieceIsAMissAndNeverAnotherAnswer) {
  std::mt19937 random(9);
  const auto job = job_of(random_tokens(random, 40), 1);
  files_ = 10 + 2 * 64;
  const Answer expected = run_once(job);
  int missed = 0;
  int file_number = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
    if (!entry.is_regular_file() || entry.path().filename() == "identity") continue;
    if (++file_number % 8 != 0) continue;
    std::fstream(entry.path(), std::ios::in | std::ios::out | std::ios::binary).seekp(300).put('!');
    const Answer answer = run_once(job);
    expect_same(answer, expected);
    missed += cached(answer) == 0;
    EXPECT_EQ(cached(run_once(job)), 36) << "it was mended";
  }
  EXPECT_GT(missed, 5);
}

}  // namespace
}  // namespace mlxd::testing
