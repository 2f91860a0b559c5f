// bench_prompt MODEL: how fast the runner reads a prompt, and where its time goes.
//
// The model is opened and run as `mlxd bench` does it, below the engine: one sequence of random
// tokens, read in steps of --step-tokens, --repeat times. Prints the tokens per second of the
// median and of the best time, and a hash of the last logits, by which arithmetic is compared.
// --samples FILE (Linux on x86-64): the processor's time is sampled, 1,000 times a second of all
// threads together, and FILE lists each sample's address in the program, for
//     addr2line -f -i -C -e bench_prompt < FILE
// (an address that is not in the program, but in a library or the kernel, is 0x0).
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "backend/backends.h"
#include "base/error.h"
#include "model/model_files.h"
#include "model/model_lookup.h"

#if defined(__linux__) && defined(__x86_64__)
#define MLXD_SAMPLES
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

extern "C" const char __executable_start, etext;  // of the linker
#endif

namespace mlxd {
namespace {

struct Settings {
  std::string model, samples;
  BackendOptions backend;
  int tokens = 512, step_tokens = 512, repeat = 5;
};

#ifdef MLXD_SAMPLES
std::vector<std::uintptr_t> sampled(std::size_t{1} << 20);
std::atomic<std::size_t> sample_count = 0;

void take_sample([[maybe_unused]] int signal, [[maybe_unused]] siginfo_t* info, void* context) {
  const auto at = static_cast<std::uintptr_t>(
      static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  const std::size_t index = sample_count.fetch_add(1);
  if (index < sampled.size()) sampled[index] = at;
}

void sample_every(int microseconds) {
  struct sigaction action = {};
  action.sa_sigaction = take_sample;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGPROF, &action, nullptr);
  const itimerval interval = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_PROF, &interval, nullptr);
}

void write_samples(const std::string& path) {
  const auto begin = reinterpret_cast<std::uintptr_t>(&__executable_start);
  const auto end = reinterpret_cast<std::uintptr_t>(&etext);
  std::ofstream out(path);
  for (std::size_t i = 0; i < std::min(sample_count.load(), sampled.size()); ++i) {
    const std::uintptr_t at = sampled[i];
    out << fmt::format("0x{:x}\n", begin <= at && at < end ? at - begin : 0);
  }
  if (!out.flush()) throw StartupError("cannot write " + path);
}
#else
void sample_every(int /*microseconds*/) { throw StartupError("--samples needs Linux on x86-64"); }
void write_samples(const std::string& /*path*/) {}
#endif

void run(const Settings& settings) {
  const ModelFiles files = open_model(find_model(settings.model));
  const auto runner = make_runner(files.plan, settings.backend);
  const RunnerInfo& info = runner->info();
  std::vector<int> blocks((settings.tokens + info.block_size - 1) / info.block_size);
  std::iota(blocks.begin(), blocks.end(), 0);
  runner->resize_cache(CacheSize::of(info, static_cast<int>(blocks.size())));

  std::mt19937 random(1);
  std::vector<int> tokens(static_cast<std::size_t>(settings.tokens));
  for (int& token : tokens) token = static_cast<int>(random() % 1000);
  StepOutput output;
  std::vector<double> times;
  for (int i = 0; i <= settings.repeat; ++i) {  // the first warms up
    if (i == 1 && !settings.samples.empty()) sample_every(1000);
    const auto start = std::chrono::steady_clock::now();
    for (int first = 0; first < settings.tokens; first += settings.step_tokens) {
      const int end = std::min(first + settings.step_tokens, settings.tokens);
      Batch batch;
      batch.tokens.assign(tokens.begin() + first, tokens.begin() + end);
      batch.positions.resize(static_cast<std::size_t>(end - first));
      std::iota(batch.positions.begin(), batch.positions.end(), first);
      batch.want_logits(end - first - 1);
      batch.sequences.push_back({0, end - first, end, tables_of(info, blocks)});
      batch.sequences.back().prompt_rows = end - first;
      runner->step(batch, output);
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (i > 0) times.push_back(passed.count());
  }
  if (!settings.samples.empty()) {
    sample_every(0);
    write_samples(settings.samples);
  }
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const float logit : output.logits) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(logit)) * 1099511628211u;
  }
  std::ranges::sort(times);
  const auto speed = [&](double seconds) { return settings.tokens / seconds; };
  fmt::print("{} tokens in steps of {}: median {:.0f}, best {:.0f} tokens/s, logits {:016x}\n",
             settings.tokens, settings.step_tokens, speed(times[times.size() / 2]),
             speed(times.front()), hash);
}

}  // namespace
}  // namespace mlxd

int main(int argc, char** argv) {
  mlxd::Settings settings;
  CLI::App app("How fast a prompt is read, and where its time goes");
  app.add_option("model", settings.model)->required();
  app.add_option("--backend", settings.backend.name);
  app.add_option("--threads", settings.backend.threads);
  app.add_option("--isa", settings.backend.isa);
  app.add_option("--prompt", settings.tokens)->check(CLI::PositiveNumber);
  app.add_option("--step-tokens", settings.step_tokens)->check(CLI::PositiveNumber);
  app.add_option("--repeat", settings.repeat)->check(CLI::PositiveNumber);
  app.add_option("--samples", settings.samples);
  CLI11_PARSE(app, argc, argv);
  try {
    mlxd::run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_prompt: {}\n", error.what());
    return 1;
  }
}
