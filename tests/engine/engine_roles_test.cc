// A runner in which a row's role, of a prompt or generated, decides how it is computed.
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/prefix_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

FakeOptions with_roles(FakeOptions fake = {}) {
  fake.has_roles = true;
  return fake;
}

// Rows of a step by their roles, added up.
struct RoleCounter {
  std::shared_ptr<std::atomic<int>> prompt = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<int>> generated = std::make_shared<std::atomic<int>>(0);

  FakeOptions fake(int block_size = 4) const {
    FakeOptions options = with_roles();
    options.block_size = block_size;
    options.before_step = [prompt = prompt, generated = generated](const Batch& batch,
                                                                   std::uint64_t) {
      for (const BatchSequence& sequence : batch.sequences) {
        *prompt += sequence.prompt_rows;
        *generated += sequence.query_length - sequence.prompt_rows;
      }
    };
    return options;
  }
};

TEST(Roles, TheRequestSaysWhichRowsAreOfItsPrompt) {
  const RoleCounter counter;
  EngineOptions options;
  options.max_step_tokens = 8;  // the prompt comes in pieces
  options.max_running_sequences = 4;
  options.max_draft_tokens = 0;
  auto engine = make_engine(options, counter.fake());
  std::mt19937 random(1);
  run(*engine, job_of(random_tokens(random, 37), 12));
  EXPECT_EQ(*counter.prompt, 37);
  EXPECT_EQ(*counter.generated, 11) << "the last token is not fed";
}

TEST(Roles, ADraftIsGenerated) {
  const RoleCounter counter;
  FakeOptions fake = counter.fake();
  fake.edit_logits =
      certain_next_token([](std::span<const int> history) { return (history.back() + 1) % 5; });
  auto engine = make_engine({}, fake);
  run(*engine, job_of({0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2}, 40));
  EXPECT_GT(engine->stats().accepted_tokens, 10u);
  EXPECT_EQ(*counter.prompt, 13);
  EXPECT_GE(*counter.generated, 39);
}

TEST(Roles, AnAnswerInALaterPromptIsComputedOnceAsPromptAndThenFound) {
  const RoleCounter counter;
  auto engine = make_engine({.max_draft_tokens = 0}, counter.fake(16));
  std::mt19937 random(2);
  const std::vector<int> history = random_tokens(random, 400);
  const Answer first = run(*engine, job_of(history, 101));
  const auto second = joined(joined(history, first.tokens[0]), random_tokens(random, 30));
  *counter.prompt = 0;
  EXPECT_EQ(cached(run(*engine, job_of(second, 1))), 400) << "the prompt's blocks";
  EXPECT_EQ(*counter.prompt, 131);
  EXPECT_EQ(cached(run(*engine, job_of(second, 1))), 528) << "all of its whole blocks";
}

TEST(Roles, TheSameTokensAsPromptAndAsAnswerAreNotTakenForEachOther) {
  std::mt19937 random(3);
  const std::vector<int> history = random_tokens(random, 64);
  const Answer first = run_alone(job_of(history, 40), with_roles());
  const GenerateJob second = job_of(joined(history, first.tokens[0]), 20);
  auto engine = make_engine({}, with_roles());
  run(*engine, job_of(history, 40));
  expect_same(run(*engine, second), run_alone(second, with_roles()));
}

TEST(Roles, WhoWasPreemptedFindsWhatItGenerated) {
  const RoleCounter counter;
  EngineOptions options;
  options.kv_blocks = 60;  // of 4 tokens, for eight sequences of 60
  options.max_running_sequences = 8;
  options.max_draft_tokens = 0;
  std::mt19937 random(4);
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 8; ++i) jobs.push_back(job_of(random_tokens(random, 20), 40, i));
  auto engine = make_engine(options, counter.fake());
  std::vector<RequestHandle> handles;
  for (const GenerateJob& job : jobs) handles.push_back(*engine->submit(job));
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    expect_same(read_all(handles[i]), run_alone(jobs[i], with_roles()));
  }
  EXPECT_GT(engine->stats().preemptions, 0u);
  // What is computed again is what others took, not all that was generated.
  EXPECT_LT(*counter.generated, 8 * 39 * 2);
}

TEST(Roles, DiskKeepsPromptsAlone) {
  const TemporaryFolder folder;
  EngineOptions options;
  options.max_draft_tokens = 0;
  options.prefix_disk.directory = folder.path();
  options.prefix_disk.model = [] { return "a model"; };
  const auto files = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
      count += entry.is_regular_file() && entry.path().filename() != "identity";
    }
    return count;
  };
  std::mt19937 random(5);
  const std::vector<int> history = random_tokens(random, 400);
  const RoleCounter counter;
  const Answer first = run(*make_engine(options, counter.fake(16)), job_of(history, 101));
  EXPECT_EQ(files(), 25);
  const auto second = joined(history, first.tokens[0]);
  EXPECT_EQ(cached(run(*make_engine(options, counter.fake(16)), job_of(second, 1))), 400);
  EXPECT_EQ(files(), 31);
  EXPECT_EQ(cached(run(*make_engine(options, counter.fake(16)), job_of(second, 1))), 496);
}

}  // namespace
}  // namespace mlxd::testing
