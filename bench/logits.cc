// bench_logits MODEL TOKENS OUT: what mlxd predicts after each token of a text, for
// bench/divergence.
//
// TOKENS holds ids separated by white space; OUT becomes float32 [tokens, vocabulary], in the
// machine's byte order. The model is opened and run as `mlxd bench` does it, below the engine: the
// text is one sequence, read in steps of --step-tokens.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "backend/backends.h"
#include "base/error.h"
#include "model/model_files.h"
#include "model/model_lookup.h"

namespace mlxd {
namespace {

struct Settings {
  std::string model, tokens, out;
  BackendOptions backend;
  int step_tokens = 512;
};

std::vector<int> read_tokens(const std::string& path) {
  std::ifstream file(path);
  std::vector<int> tokens{std::istream_iterator<int>(file), {}};
  if (tokens.empty() || !file.eof()) throw StartupError(path + " holds no list of token ids");
  return tokens;
}

void run(const Settings& settings) {
  const std::vector<int> tokens = read_tokens(settings.tokens);
  const int count = static_cast<int>(tokens.size());
  const ModelFiles files = open_model(find_model(settings.model));
  const auto runner = make_runner(files.plan, settings.backend);
  const RunnerInfo& info = runner->info();
  std::vector<int> blocks((count + info.block_size - 1) / info.block_size);
  std::iota(blocks.begin(), blocks.end(), 0);
  runner->resize_cache(CacheSize::of(runner->info(), static_cast<int>(blocks.size())));

  std::ofstream out(settings.out, std::ios::binary);
  StepOutput output;
  for (int first = 0; first < count; first += settings.step_tokens) {
    const int end = std::min(first + settings.step_tokens, count);
    Batch batch;
    batch.tokens.assign(tokens.begin() + first, tokens.begin() + end);
    batch.positions.resize(end - first);
    std::iota(batch.positions.begin(), batch.positions.end(), first);
    for (int row = 0; row < end - first; ++row) batch.want_logits(row);
    batch.sequences.push_back({0, end - first, end, tables_of(info, blocks)});
    batch.sequences.back().prompt_rows = end - first;
    runner->step(batch, output);
    out.write(reinterpret_cast<const char*>(output.logits.data()),
              static_cast<std::streamsize>(output.logits.size() * sizeof(float)));
  }
  if (!out.flush()) throw StartupError("cannot write " + settings.out);
}

}  // namespace
}  // namespace mlxd

int main(int argc, char** argv) {
  mlxd::Settings settings;
  CLI::App app("What mlxd predicts after each token of a text");
  app.add_option("model", settings.model)->required();
  app.add_option("tokens", settings.tokens)->required();
  app.add_option("out", settings.out)->required();
  app.add_option("--backend", settings.backend.name);
  app.add_option("--threads", settings.backend.threads);
  app.add_option("--isa", settings.backend.isa);
  app.add_option("--step-tokens", settings.step_tokens)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    mlxd::run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_logits: {}\n", error.what());
    return 1;
  }
}
