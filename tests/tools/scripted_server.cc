// scripted_server: mlxd with a model whose answers are written beforehand, for tests of clients and
// agents. HTTP, dialects, template, tokeniser, parser, grammars and engine are the server's own, on
// the files of a real model; only the forward pass is not.
//
//   scripted_server --model [NAME=]FILE --script SCRIPT.json [--port N]
//
// script.h says what a script is.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include "api/api.h"
#include "api/metrics.h"
#include "cli/logging.h"
#include "cli/settings.h"
#include "cli/stop_signals.h"
#include "engine/fake/fake_runner.h"
#include "http/server.h"
#include "models/local_models.h"
#include "tools/script.h"

namespace mlxd {
namespace {

std::string contents_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the template writes when it begins the assistant's turn.
std::string opening_of(const ServedModel& model) {
  ChatPrompt chat;
  chat.messages_json = R"([{"role":"user","content":"Hello"}])";
  const std::string begun = *model.render(chat);
  chat.add_generation_prompt = false;
  return begun.substr(model.render(chat)->size());
}

std::unique_ptr<Engine> scripted_engine(const ServedModel& model, int context,
                                        const std::string& script_path, EngineObserver* observer) {
  FakeOptions fake;
  fake.vocab_size = model.tokenizer->vocab_size();
  fake.context_length = context;
  fake.block_size = 16;
  auto script = std::make_shared<testing::Script>(contents_of(script_path), opening_of(model));
  fake.edit_logits = certain_next_token([script, tokenizer = model.tokenizer,
                                         end = model.stop_ids.at(0)](std::span<const int> history) {
    const int token = script->next(*tokenizer, history);
    return token < 0 ? end : token;
  });
  EngineOptions options;
  options.kv_blocks = 4 * context / fake.block_size;
  options.max_draft_tokens = 0;  // so that what is off the script is in an answer, not in a guess
  return std::make_unique<Engine>(
      options, [fake] { return std::make_unique<FakeRunner>(fake); }, observer);
}

int run(const std::string& model, const std::string& script, std::uint16_t port) {
  const StopSignals signals;
  set_up_logging("info", "text");
  api::Metrics metrics;
  ModelPool pool;
  api::Api api({.version = "scripted"}, metrics, pool);
  http::Router router;
  api.mount(router);
  http::ServerOptions options;
  options.port = port;
  options.error_body = api.http_error_body();

  LocalModels local({parse_model_setting(model)}, {}, "scripted");
  const int context = local.files(0).plan.config.context_length;
  std::vector<PooledModel> models;
  models.push_back(local.take(0));
  models[0].model.aliases.push_back("default");
  std::unique_ptr<Engine> engine =
      scripted_engine(models[0].model, context, script, metrics.engine_observer());
  models[0].load = [&engine](const LoadProgress&) { return std::move(engine); };
  pool.start(std::move(models), local.memory().total());

  http::Server server(options, std::move(router));
  spdlog::info("listening on http://127.0.0.1:{}", server.port());
  while (!signals.wait_for(1)) {
  }
  return 0;
}

}  // namespace
}  // namespace mlxd

int main(int argc, char** argv) {
  CLI::App app("mlxd with a model whose answers are written beforehand");
  std::string model, script;
  std::uint16_t port = 0;
  app.add_option("--model", model, "[NAME=]FILE of the model that is played")->required();
  app.add_option("--script", script, "what it says; see tests/tools/script.h")->required();
  app.add_option("--port", port, "0: any that is free");
  CLI11_PARSE(app, argc, argv);
  try {
    return mlxd::run(model, script, port);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
