#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/hub_models.h"
#include "cli/load_report.h"
#include "cli/messages.h"
#include "cli/version.h"
#include "models/local_models.h"
#include "models/start_engine.h"

namespace mlxd {
namespace {

// Tokens that no template or grammar made: their values do not change the work.
std::vector<int> synthetic_prompt(int tokens, int vocab_size, int salt) {
  std::vector<int> prompt(tokens);
  for (int i = 0; i < tokens; ++i) prompt[i] = (1000 + salt * 131 + i * 17) % vocab_size;
  return prompt;
}

struct Timing {
  double prompt_seconds = 0;      // submission to the last sequence's first token
  double generation_seconds = 0;  // from there to the last token
};

// When the first event of a request came, told by the inference thread itself: the reader may be
// busy with another request then. Shared, since that thread may still tell of the last event when
// it has been read.
class FirstEvent {
 public:
  void arrived() {
    Clock::rep none = 0;
    at_.compare_exchange_strong(none, Clock::now().time_since_epoch().count());
  }
  TimePoint at() const { return TimePoint(Clock::duration(at_.load())); }

 private:
  std::atomic<Clock::rep> at_{0};
};

void read_to_the_end(RequestHandle& handle) {
  while (true) {
    const auto event = handle.next_until(TimePoint::max());
    if (!event) continue;
    if (const auto* end = std::get_if<RequestFinished>(&*event)) {
      if (end->outcome == RequestFinished::Outcome::completed) return;
      throw StartupError("the benchmark's request failed: " + end->error.message);
    }
  }
}

// One round: `batch` sequences submitted together, read to their ends.
Timing run_round(Engine& engine, int batch, int prompt_tokens, int generated_tokens) {
  std::vector<std::shared_ptr<FirstEvent>> first_events;
  std::vector<RequestHandle> handles;
  const TimePoint start = Clock::now();
  for (int i = 0; i < batch; ++i) {
    GenerateJob job;
    job.id = fmt::format("bench-{}", i);
    job.prompt = synthetic_prompt(prompt_tokens, engine.info().vocab_size, i);
    job.sampling.temperature = 0;
    job.max_tokens = generated_tokens;
    job.ignore_eos = true;
    const auto& event = first_events.emplace_back(std::make_shared<FirstEvent>());
    auto handle = engine.submit(std::move(job), [event] { event->arrived(); });
    if (!handle) throw StartupError("the engine refused the benchmark: " + handle.error().message);
    handles.push_back(std::move(*handle));
  }
  for (RequestHandle& handle : handles) read_to_the_end(handle);
  const TimePoint last = Clock::now();
  TimePoint first = start;
  for (const auto& event : first_events) first = std::max(first, event->at());
  return {seconds_between(start, first), seconds_between(first, last)};
}

// The share of a block's experts that a step of so many rows reads, were they chosen at random.
double share_of_experts(const ExpertsBlock& experts, int rows) {
  return 1 - std::pow(1 - static_cast<double>(experts.choice.chosen) / experts.experts, rows);
}

// Adds up what `count` says of each product of the blocks, the share of it that a step of so many
// rows reads.
template <class Count>
double sum_over_blocks(const ModelPlan& plan, int rows, Count count) {
  double sum = 0;
  for (const Block& block : plan.blocks) {
    const auto* experts = std::get_if<ExpertsBlock>(&block);
    for (const Linear* linear : linears_of(block)) {
      const bool chosen =
          experts != nullptr && ((experts->gate && linear == &*experts->gate) ||
                                 linear == &experts->up || linear == &experts->down);
      sum += count(*linear) * (chosen ? share_of_experts(*experts, rows) : 1);
    }
  }
  return sum;
}

// Multiplications by weights that one prompt token takes, the head's excepted: a prompt's last
// token alone reaches it.
double multiply_adds_per_token(const ModelPlan& plan) {
  return sum_over_blocks(plan, 1, [](const Linear& linear) {
    return static_cast<double>(linear.out()) * linear.weight.columns;
  });
}

// Of the weights as the file has them, what a step of so many decoded rows reads.
double read_bytes_per_step(const ModelPlan& plan, int rows) {
  const auto bytes = [](const Linear& linear) {
    const Tensor& weight = linear.weight;
    return static_cast<double>(weight.byte_size()) * linear.out() / weight.rows;
  };
  return sum_over_blocks(plan, rows, bytes) + bytes(plan.head.weight);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

int run_bench(const BenchSettings& settings) {
  EngineSettings engine_settings = settings.engine;
  engine_settings.max_running =
      *std::max_element(settings.batch_sizes.begin(), settings.batch_sizes.end());
  engine_settings.prefix_cache = false;  // every run is to read its prompts again
  std::vector<ModelSetting> named = {the_model(settings.models, "bench")};
  locate_models(named, Missing::refuse);
  const LocalModels models(named, engine_settings, kVersion);
  admit(models.memory());
  for (const std::string& warning : models.memory().warnings) print_warning(warning);
  const ModelFiles& files = models.files(0);
  const auto engine = start_engine(files, models.memory().models[0].kv_cache, engine_settings,
                                   kVersion, nullptr, load_report(named.front().name));
  const RunnerInfo& info = engine->info();
  if (settings.prompt_tokens + 1 > info.context_length ||
      settings.depth + settings.generated_tokens + 1 > info.context_length) {
    throw StartupError(
        fmt::format("the model's context is {} tokens; ask for fewer", info.context_length));
  }
  if (!settings.json) {
    std::printf("%s, %s %s, medians of %d\n%6s %10s %14s %10s %14s\n",
                files.path.filename().c_str(), info.backend.c_str(), info.instruction_set.c_str(),
                settings.repeat, "batch", "prompt", "prompt tok/s", "generated", "generated tok/s");
  }
  run_round(*engine, 1, std::min(settings.prompt_tokens, 64), 8);  // warm-up
  for (const int batch : settings.batch_sizes) {
    std::vector<double> prompt_rates, generation_rates;
    for (int run = 0; run < settings.repeat; ++run) {
      const Timing prompt = run_round(*engine, batch, settings.prompt_tokens, 1);
      // The token that ends the prompt's step is not generation: one more than is timed.
      const Timing generation =
          run_round(*engine, batch, settings.depth, settings.generated_tokens + 1);
      prompt_rates.push_back(batch * settings.prompt_tokens / prompt.prompt_seconds);
      generation_rates.push_back(batch * settings.generated_tokens / generation.generation_seconds);
    }
    if (settings.json) {
      std::printf(
          "%s\n",
          fmt::format("{{\"model\":\"{}\",\"backend\":\"{}\",\"instruction_set\":\"{}\","
                      "\"batch\":{},\"prompt_tokens\":{},\"prompt_tokens_per_second\":{:.1f},"
                      "\"depth\":{},\"generated_tokens\":{},"
                      "\"generated_tokens_per_second\":{:.1f},\"repeat\":{},"
                      "\"read_bytes_per_step\":{:.0f},\"kv_bytes_per_token\":{},"
                      "\"multiply_adds_per_token\":{:.0f}}}",
                      files.path.filename().string(), info.backend, info.instruction_set, batch,
                      settings.prompt_tokens, median(prompt_rates), settings.depth,
                      settings.generated_tokens, median(generation_rates), settings.repeat,
                      read_bytes_per_step(files.plan, batch), info.block_bytes() / info.block_size,
                      multiply_adds_per_token(files.plan))
              .c_str());
    } else {
      std::printf("%6d %10d %14.1f %10d %14.1f\n", batch, settings.prompt_tokens,
                  median(prompt_rates), settings.generated_tokens, median(generation_rates));
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace mlxd
