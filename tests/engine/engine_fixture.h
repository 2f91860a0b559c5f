#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/fake/fake_runner.h"

namespace mlxd::testing {

// A build with sanitizers is slow, and looks for what no answer shows: it makes one of so many
// repetitions, runs in the combinations that differ most, and leaves checking the scheduler's
// tables after every step to the others.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
inline constexpr int kSlowness = kSanitized ? 10 : 1;

enum class States { none, plenty, scarce };

// The ways in which an engine may work; none of them changes an answer, but that a model with
// recurrent states or roles has others than one without.
struct Combination {
  const char* name;
  bool draws = false;  // the runner draws
  int ahead = 0;       // and so many steps are launched ahead
  bool drafts = true;
  bool prefix_cache = true;
  States states = States::none;  // of the model; scarce: so few slots that some save in place
  bool windows = false;          // some of its layers
  bool roles = false;            // of its rows

  friend void PrintTo(const Combination& combination, std::ostream* out) {
    *out << combination.name;
  }
};
inline constexpr Combination kUsual = {.name = "Usual"};
inline constexpr Combination kAhead = {.name = "Ahead", .draws = true, .ahead = 1};
inline constexpr Combination kAheadStates = {
    .name = "AheadStates", .draws = true, .ahead = 1, .states = States::plenty};
inline constexpr Combination kAheadScarceStates = {.name = "AheadScarceStatesAndWindows",
                                                   .draws = true,
                                                   .ahead = 1,
                                                   .states = States::scarce,
                                                   .windows = true};
inline constexpr Combination kAheadScarceStatesRoles = {.name = "AheadScarceStatesAndRoles",
                                                        .draws = true,
                                                        .ahead = 1,
                                                        .states = States::scarce,
                                                        .roles = true};
inline constexpr Combination kScarceStates = {.name = "ScarceStates", .states = States::scarce};
inline constexpr Combination kAllCombinations[] = {
    kUsual,
    {.name = "NoCache", .prefix_cache = false},
    {.name = "Draws", .draws = true},
    kAhead,
    {.name = "AheadNoDraftsNoCache",
     .draws = true,
     .ahead = 1,
     .drafts = false,
     .prefix_cache = false},
    {.name = "StatesNoDrafts", .drafts = false, .states = States::plenty},
    kScarceStates,
    kAheadStates,
    kAheadScarceStates,
    {.name = "Roles", .roles = true},
    kAheadScarceStatesRoles,
};
inline constexpr Combination kSanitizedCombinations[] = {kUsual, kAhead, kAheadScarceStates};
inline constexpr std::span<const Combination> kCombinations =
    kSanitized ? std::span<const Combination>(kSanitizedCombinations) : kAllCombinations;
// What make_engine makes.
inline const Combination*& combination() {
  static const Combination* current = &kUsual;
  return current;
}

// Runs a test in every combination:
//   class Faults : public InEveryCombination {};
//   TEST_P(Faults, ...) {}
//   INSTANTIATE_IN_EVERY_COMBINATION(Faults);
class InEveryCombination : public ::testing::TestWithParam<Combination> {
 protected:
  void SetUp() override { combination() = &GetParam(); }
  void TearDown() override { combination() = &kUsual; }
};
#define INSTANTIATE_IN_EVERY_COMBINATION(suite)                           \
  INSTANTIATE_TEST_SUITE_P(In, suite, ::testing::ValuesIn(kCombinations), \
                           [](const auto& made) { return std::string(made.param.name); })

inline TimePoint in_seconds(double seconds) {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Everything that came for one request.
struct Answer {
  std::vector<std::vector<int>> tokens;  // [sample][index]
  std::vector<SampledToken> details;     // all samples, as they came
  std::vector<PromptToken> prompt;
  std::map<int, std::vector<float>> vectors;  // by text
  std::vector<PromptProgress> progress;
  std::vector<SampleFinished> finished;
  std::vector<RequestFinished> terminals;  // must be one

  bool completed() const {
    return terminals.size() == 1 && terminals[0].outcome == RequestFinished::Outcome::completed;
  }
  std::string error_code() const { return terminals.empty() ? "none" : terminals[0].error.code; }
};

inline void take(Answer& answer, TokenEvent event) {
  if (auto* token = std::get_if<SampledToken>(&event)) {
    if (token->sample >= static_cast<int>(answer.tokens.size())) {
      answer.tokens.resize(token->sample + 1);
    }
    answer.tokens[token->sample].push_back(token->token);
    answer.details.push_back(*token);
  } else if (auto* prompt = std::get_if<PromptToken>(&event)) {
    answer.prompt.push_back(*prompt);
  } else if (auto* pooled = std::get_if<PooledVector>(&event)) {
    answer.vectors[pooled->sample] = pooled->values;
  } else if (auto* progress = std::get_if<PromptProgress>(&event)) {
    answer.progress.push_back(*progress);
  } else if (auto* finished = std::get_if<SampleFinished>(&event)) {
    answer.finished.push_back(*finished);
  } else {
    answer.terminals.push_back(std::get<RequestFinished>(event));
  }
}

// Reads to the terminal event; without one within a minute, `terminals` stays empty.
inline Answer read_all(RequestHandle& handle) {
  Answer answer;
  const TimePoint limit = in_seconds(60);
  while (answer.terminals.empty()) {
    auto event = handle.next_until(limit);
    if (!event) break;
    take(answer, *std::move(event));
  }
  while (auto event = handle.try_next()) take(answer, *std::move(event));
  return answer;
}

inline std::unique_ptr<Engine> make_engine(EngineOptions options = {}, FakeOptions fake = {},
                                           EngineObserver* observer = nullptr) {
  options.check_integrity = !kSanitized;
  const Combination& way = *combination();
  fake.draws = fake.draws || way.draws;
  fake.ahead = std::max(fake.ahead, way.ahead);
  if (!way.drafts) options.max_draft_tokens = 0;
  if (!way.prefix_cache) options.prefix_cache = false;
  fake.has_roles = fake.has_roles || way.roles;
  if (way.states != States::none) fake.state_bytes = 512;
  if (way.states == States::plenty) options.state_slots = 1000;
  if (way.states == States::scarce) options.state_slots = options.max_running_sequences + 2;
  if (way.windows && fake.kv.size() == 1) fake.kv.push_back({.block_bytes = 256, .window = 3});
  return std::make_unique<Engine>(
      options, [fake] { return std::make_unique<FakeRunner>(fake); }, observer);
}

inline GenerateJob job_of(std::vector<int> prompt, int max_tokens, std::uint64_t seed = 1) {
  GenerateJob job;
  job.id = "test";
  job.prompt = std::move(prompt);
  job.max_tokens = max_tokens;
  job.sampling.seed = seed;
  return job;
}

// The answer of an engine that has nothing else to do and does it in the usual way.
inline Answer run_alone(const GenerateJob& job, FakeOptions fake = {}) {
  Combination usual = kUsual;
  if (combination()->states != States::none) usual.states = States::plenty;
  usual.roles = combination()->roles;
  const Combination* way = std::exchange(combination(), &usual);
  auto engine = make_engine({}, std::move(fake));
  combination() = way;
  auto handle = engine->submit(job);
  if (!handle) return {};
  return read_all(*handle);
}

// Waits for up to a minute.
template <class Condition>
bool eventually(Condition condition) {
  const TimePoint limit = in_seconds(60);
  while (!condition()) {
    if (Clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace mlxd::testing
