// What an agent's turns cost before their first token, without a model's forward pass: the real
// tokeniser, template and grammars of a model's files, in front of the engine on a fake runner.
// Usage: bench_turns MODEL [tools]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "api/api.h"
#include "api/generation/model_directory.h"
#include "api/openai/dialect.h"
#include "engine/fake/fake_runner.h"
#include "model/model_files.h"
#include "serve/load_model.h"

namespace {

using namespace mlxd;

double milliseconds_since(TimePoint then) { return seconds_between(then, Clock::now()) * 1e3; }

// A tool of some 300 tokens: what it does in words, and arguments of several kinds.
std::string tool(int index) {
  std::string properties;
  for (int i = 0; i < 6; ++i) {
    properties += fmt::format(
        R"({}"argument_{}":{{"type":"{}","description":"The {} of what tool {} is asked to do, as a )"
        R"(person would write it, and never relative to the folder in which the agent began."}})",
        i == 0 ? "" : ",", i,
        i % 3 == 0   ? "string"
        : i % 3 == 1 ? "integer"
                     : "boolean",
        i, index);
  }
  properties += R"(,"mode":{"type":"string","enum":["read","write","append","remove"]},)"
                R"("edits":{"type":"array","items":{"type":"object","properties":{)"
                R"("old":{"type":"string"},"new":{"type":"string"}},"required":["old","new"]}})";
  return fmt::format(
      R"({{"type":"function","function":{{"name":"tool_{}","description":"Tool number {} does one )"
      R"(thing and does it well: it looks at the files of the project, changes what it is told to )"
      R"(change, and reports what it has done in a few lines that another program can read.",)"
      R"("parameters":{{"type":"object","properties":{{{}}},"required":["argument_0","mode"]}}}}}})",
      index, index, properties);
}

std::string body(const std::string& tools, int turns) {
  std::string messages =
      R"({"role":"system","content":"You are an agent that works on a project in a folder."},)"
      R"({"role":"user","content":"Find out why the test of the parser fails, and mend it."})";
  for (int i = 1; i < turns; ++i) {
    messages += fmt::format(
        R"(,{{"role":"assistant","content":"I look at file {}.","tool_calls":[{{"id":"call_{}",)"
        R"("type":"function","function":{{"name":"tool_{}","arguments":"{{\"argument_0\":)"
        R"(\"src/{}.cc\",\"mode\":\"read\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{}",)"
        R"("content":"int f_{}(int x) {{ return x + {}; }}"}})",
        i, i, i, i, i, i, i);
  }
  return fmt::format(
      R"({{"model":"m","messages":[{}],"tools":[{}],"max_tokens":1,"temperature":0}})", messages,
      tools);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_turns MODEL [tools]\n");
    return 2;
  }
  const ModelFiles files = open_model(argv[1]);
  auto model = std::make_shared<ServedModel>(make_served_model(files, "m", "bench", "fake"));
  FakeOptions fake;
  fake.vocab_size = static_cast<int>(files.plan.head.weight.weight.rows);
  fake.context_length = 65536;
  fake.block_size = 32;
  EngineOptions options;
  options.kv_blocks = 4096;
  model->engine =
      std::make_unique<Engine>(options, [fake] { return std::make_unique<FakeRunner>(fake); });
  const api::ModelDirectory models({model});
  const auto dialects = api::openai_dialects(api::ApiOptions{});
  std::string tools;
  for (int i = 0; i < (argc > 2 ? std::atoi(argv[2]) : 80); ++i) {
    tools += (i == 0 ? "" : ",") + tool(i);
  }
  // What `start` takes, `render` by itself is a part of.
  std::printf("%5s %8s %8s %9s %9s %9s %9s\n", "turn", "tokens", "cached", "read ms", "start ms",
              "first ms", "render ms");
  for (int turn = 1; turn <= 6; ++turn) {
    const std::string text = body(tools, turn);
    const TimePoint begun = Clock::now();
    auto parsed = dialects[0]->parse(text, models);
    if (!parsed) {
      std::fprintf(stderr, "%s\n", parsed.error().message.c_str());
      return 1;
    }
    const double read = milliseconds_since(begun);
    const TimePoint rendered = Clock::now();
    if (!model->render(std::get<ChatPrompt>(parsed->prompts.at(0)))) return 1;
    const double render = milliseconds_since(rendered);
    const TimePoint ready = Clock::now();
    auto generation =
        model->start({std::move(parsed->prompts.at(0)), parsed->text, parsed->job}, {});
    if (!generation) {
      std::fprintf(stderr, "%s\n", generation.error().message.c_str());
      return 1;
    }
    const double start = milliseconds_since(ready);
    const TimePoint started = Clock::now();
    double first = 0;
    Usage usage;
    while (auto event = (*generation)->next_until(Clock::now() + std::chrono::seconds(60))) {
      if (first == 0) first = milliseconds_since(started);
      if (const auto* end = std::get_if<GenerationEnd>(&*event)) {
        usage = end->usage;
        break;
      }
    }
    std::printf("%5d %8d %8d %9.2f %9.2f %9.2f %9.2f\n", turn, usage.prompt_tokens,
                usage.cached_prompt_tokens, read, start, first, render);
  }
  return 0;
}
