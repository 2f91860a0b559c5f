// What a step costs beside the model: planning it and booking its outcome, with many sequences
// running. The promise is less than 5% of a step, and 20 us at 256 running sequences.
//
//   bench_engine [Google Benchmark's options]
#include "engine/engine.h"

#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/scheduler.h"

namespace mlxd {
namespace {

constexpr int kPrompt = 256;
constexpr int kEnd = 768;  // a sequence's length when it ends
constexpr int kBlockSize = 16;

// `sequences` that decode, of lengths spread from kPrompt to kEnd. Whose is over makes room for a
// new one, so that steps also admit, compute prompts, and enter and evict blocks of the cache.
class Load {
 public:
  Load(int sequences, bool with_cache, int callers)
      : callers_(callers), blocks_(sequences * (kEnd / kBlockSize + 2)) {
    if (with_cache) cache_ = std::make_unique<PrefixGroups>(blocks_, kBlockSize);
    SchedulerLimits limits;
    limits.max_sequences = sequences;
    limits.max_step_tokens = sequences + 512;
    limits.max_logit_rows = sequences + 1;
    limits.block_size = kBlockSize;
    scheduler_ = std::make_unique<Scheduler>(limits, blocks_, cache_.get());
    for (int i = 0; i < sequences + 64; ++i)
      add(kPrompt + (kEnd - kPrompt) * (i % sequences) / sequences);
    while (static_cast<int>(scheduler_->running().size()) < sequences) step();
    for (int i = 0; i < 100; ++i) step();
  }

  void step() {
    scheduler_->schedule();
    const auto& parts = scheduler_->parts();
    for (const StepPart& part : parts) {
      Sequence& sequence = *part.sequence;
      scheduler_->advance(part, part.rows);
      if (sequence.computed < sequence.length()) continue;
      sequence.tokens.push_back(static_cast<int>(sequence.age));
      want_last_logits(sequence);
      if (sequence.length() >= kEnd) over_.push_back(&sequence);
    }
    scheduler_->finish_step();
    for (Sequence* sequence : over_) {
      scheduler_->remove(*sequence);
      std::erase_if(sequences_, [&](const auto& owned) { return owned.get() == sequence; });
      add(kPrompt);
    }
    over_.clear();
  }

  int rows() const { return scheduler_->batch().rows(); }

 private:
  void add(int length) {
    Sequence& sequence = *sequences_.emplace_back(std::make_unique<Sequence>());
    sequence.age = ++arrivals_;
    sequence.caller = arrivals_ % callers_;
    sequence.tokens.reserve(kEnd + 1);
    sequence.tokens.assign(length, static_cast<int>(arrivals_));
    sequence.prompt_length = length;
    want_last_logits(sequence);
    scheduler_->add(sequence);
  }
  static void want_last_logits(Sequence& sequence) {
    sequence.logits_from = sequence.length() - 1;
    sequence.logits_to = sequence.length();
  }

  const int callers_;
  BlockPools blocks_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> over_;
  std::uint64_t arrivals_ = 0;
};

// One iteration is one step: schedule(), what the loop books of its outcome, finish_step().
void schedule_and_update(benchmark::State& state) {
  Load load(static_cast<int>(state.range(0)), state.range(1) != 0,
            static_cast<int>(state.range(2)));
  double rows = 0;
  for (auto _ : state) {
    load.step();
    rows += load.rows();
  }
  state.counters["rows"] = benchmark::Counter(rows, benchmark::Counter::kAvgIterations);
}
BENCHMARK(schedule_and_update)
    ->ArgNames({"running", "cache", "callers"})
    ->Args({16, 1, 4})
    ->Args({64, 1, 4})
    ->Args({256, 0, 1})
    ->Args({256, 1, 1})
    ->Args({256, 1, 16});

// A model that takes no time: every logit is 0.
class NoModel : public ModelRunner {
 public:
  NoModel() {
    info_.backend = "none";
    info_.vocab_size = 16;
    info_.context_length = 1 << 20;
    info_.kv = {{}};
  }
  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize&) override {}
  void launch(const Batch& batch) override { rows_ = batch.wanted.size(); }
  void wait(StepOutput& output) override { output.logits.assign(rows_ * info_.vocab_size, 0); }

 private:
  RunnerInfo info_;
  std::size_t rows_ = 0;
};

// The whole inference loop: also sweeping, sampling (of 16 logits) and an event a token. One
// iteration is the life of `running` requests of kTokens tokens; us/step is what counts.
void whole_engine(benchmark::State& state) {
  constexpr int kTokens = 1000;
  const auto running = static_cast<int>(state.range(0));
  EngineOptions options;
  options.max_running_sequences = running;
  options.max_queued_requests = running;
  options.max_step_tokens = 2 * running;
  options.max_draft_tokens = static_cast<int>(state.range(1));
  options.channel_capacity = 2 * kTokens;
  options.kv_blocks = running * (kTokens / kBlockSize + 2);
  Engine engine(options, [] { return std::make_unique<NoModel>(); });
  for (auto _ : state) {
    std::vector<RequestHandle> handles;
    for (int i = 0; i < running; ++i) {
      GenerateJob job;
      job.prompt = {i % 16, i / 16};
      job.max_tokens = kTokens;
      job.sampling.temperature = 0;
      handles.push_back(*engine.submit(std::move(job)));
    }
    for (RequestHandle& handle : handles) {
      while (const auto event = handle.next_until(TimePoint::max())) {
        if (std::holds_alternative<RequestFinished>(*event)) break;
      }
    }
  }
  state.counters["steps"] = static_cast<double>(engine.stats().steps);
  state.counters["s/step"] =
      benchmark::Counter(static_cast<double>(engine.stats().steps),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(whole_engine)
    ->ArgNames({"running", "drafts"})
    ->Args({256, 0})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mlxd

BENCHMARK_MAIN();
