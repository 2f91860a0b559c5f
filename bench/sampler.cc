// What drawing one token costs on the inference thread, by vocabulary and settings:
//
//   bench_sampler
//   bench_sampler --benchmark_filter=262144
//
// The logits are those of a model in the middle of a text: one token in some thousands is likely.
#include "engine/sampler.h"

#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace mlxd {
namespace {

constexpr int kRows = 16;  // drawn in turns, so that no row stays in the nearest cache

std::vector<std::vector<float>> rows_of(int vocabulary) {
  std::mt19937 random(1);
  std::normal_distribution<float> unlikely(-8, 2.5f), likely(6, 3);
  std::vector<std::vector<float>> rows(kRows, std::vector<float>(vocabulary));
  for (auto& row : rows) {
    for (float& logit : row) logit = unlikely(random);
    for (int i = 0; i < 40; ++i) row[random() % row.size()] = likely(random);
  }
  return rows;
}

SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0;
  return params;
}

SamplingParams usual() {
  SamplingParams params;
  params.temperature = 0.8f;
  params.top_p = 0.95f;
  return params;
}

SamplingParams top_k() {
  SamplingParams params = usual();
  params.top_k = 40;
  params.min_p = 0.05f;
  return params;
}

SamplingParams with_logprobs(SamplingParams params) {
  params.logprobs = true;
  params.top_logprobs = 5;
  return params;
}

SamplingParams with_penalties(SamplingParams params) {
  params.repetition_penalty = 1.1f;
  params.frequency_penalty = 0.2f;
  return params;
}

void draw(benchmark::State& state, const SamplingParams& params) {
  auto rows = rows_of(static_cast<int>(state.range(0)));
  TokenCounts counts;
  for (int i = 0; i < 1000; ++i) counts.add_output(i * 7 % static_cast<int>(rows[0].size()));
  Sampler sampler;
  std::uint64_t index = 0;
  for (auto _ : state) {
    auto& row = rows[index % kRows];
    auto token = sampler.draw(row, {.params = &params, .index = ++index, .counts = &counts});
    if (!token) state.SkipWithError("no token was drawn");
    benchmark::DoNotOptimize(token);
  }
}

void register_all() {
  const std::pair<const char*, SamplingParams> settings[] = {
      {"greedy", greedy()},
      {"temperature+top_p", usual()},
      {"temperature+top_k+min_p", top_k()},
      {"greedy+logprobs", with_logprobs(greedy())},
      {"temperature+top_p+logprobs", with_logprobs(usual())},
      {"temperature+top_p+penalties", with_penalties(usual())},
  };
  for (const auto& [name, params] : settings) {
    benchmark::RegisterBenchmark(name, draw, params)
        ->Arg(49152)
        ->Arg(262144)
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace
}  // namespace mlxd

int main(int argc, char** argv) {
  mlxd::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
