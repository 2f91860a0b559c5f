// The engine's prefix cache on a real model: what an agent's second turn costs, and that it says
// the same.
#include <algorithm>
#include <filesystem>
#include <limits>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "engine/engine.h"
#include "model/model_files.h"

namespace mlxd::cpu {
namespace {

struct Turn {
  double first_token_seconds = 0;
  int cached_tokens = 0;
  std::vector<int> answer;
};

Turn take_turn(Engine& engine, const std::vector<int>& prompt) {
  GenerateJob job;
  job.prompt = prompt;
  job.max_tokens = 12;
  job.ignore_eos = true;
  job.sampling.temperature = 0;
  Turn turn;
  const TimePoint start = Clock::now();
  auto handle = engine.submit(std::move(job));
  if (!handle) return turn;
  while (const auto event = handle->next_until(TimePoint::max())) {
    if (const auto* token = std::get_if<SampledToken>(&*event)) {
      if (turn.answer.empty()) turn.first_token_seconds = seconds_between(start, Clock::now());
      turn.answer.push_back(token->token);
    } else if (const auto* end = std::get_if<RequestFinished>(&*event)) {
      turn.cached_tokens = end->cached_prompt_tokens;
      break;
    }
  }
  return turn;
}

std::vector<int> some_tokens(int count, int salt) {
  std::vector<int> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = (1000 + salt * 131 + i * i * 17) % 40000;
  return tokens;
}

TEST(PrefixReuseOnSmolLM2, ASecondTurnOnFourThousandTokensCostsATwentiethAndSaysTheSame) {
  const std::filesystem::path path =
      std::filesystem::path(MLXD_TEST_MODELS) / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const ModelFiles files = open_model(path);
  const auto make_runner = [&] { return make_cpu_runner(files.plan, {}); };
  EngineOptions options;
  options.kv_blocks = 600;
  Engine engine(options, make_runner);
  take_turn(engine, some_tokens(8, 9));  // warm

  std::vector<int> history = some_tokens(4000, 0);
  const Turn first = take_turn(engine, history);
  EXPECT_EQ(first.cached_tokens, 0);
  ASSERT_EQ(first.answer.size(), 12u);
  history.insert(history.end(), first.answer.begin(), first.answer.end());
  const int whole_blocks = (4011 / engine.info().block_size) * engine.info().block_size;

  // The machine may be busy just then: the best of three different questions counts.
  double best = std::numeric_limits<double>::infinity();
  std::vector<int> prompt;
  Turn second;
  for (int question = 1; question <= 3; ++question) {
    prompt = history;
    const auto more = some_tokens(30, question);
    prompt.insert(prompt.end(), more.begin(), more.end());
    second = take_turn(engine, prompt);
    EXPECT_EQ(second.cached_tokens, whole_blocks);
    best = std::min(best, second.first_token_seconds);
  }
  RecordProperty("first_turn_ms", static_cast<int>(first.first_token_seconds * 1000));
  RecordProperty("second_turn_ms", static_cast<int>(best * 1000));
  EXPECT_LE(best, 0.05 * first.first_token_seconds) << "of " << first.first_token_seconds << " s";

  options.prefix_cache = false;
  Engine without(options, make_runner);
  const Turn computed = take_turn(without, prompt);
  EXPECT_EQ(computed.cached_tokens, 0);
  EXPECT_EQ(computed.answer, second.answer);
}

}  // namespace
}  // namespace mlxd::cpu
