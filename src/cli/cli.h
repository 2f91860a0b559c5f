// cli: the commands of the program. Each turns its settings into the objects of the rooms below and
// lets them run; nothing here is needed by someone who embeds the engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/settings.h"

namespace mlxd {

// Parses and runs; the exit status: 0, or 1 with a sentence on stderr.
int run_command_line(int argc, char** argv);

struct ChatSettings {
  NamedModels models;
  std::string system;
  std::optional<std::uint64_t> seed;
  float temperature = 0.7f;
  int max_tokens = -1;  // what is left of the context
  bool pulls = false;   // a model that is not there is fetched from the hub
  EngineSettings engine;
};

struct BenchSettings {
  NamedModels models;
  int prompt_tokens = 512;
  int generated_tokens = 128;
  int depth = 1;  // tokens in the context before generation begins
  std::vector<int> batch_sizes = {1, 8, 16};
  int repeat = 5;
  bool json = false;
  EngineSettings engine;
};

// What `serve` would take with the same models and settings.
struct InspectSettings {
  NamedModels models;
  bool json = false;
  EngineSettings engine;
  int max_connections = kMaxConnections;
};

// Of the hub's models, by id: owner/name[:QUANT][@REVISION].
struct PullSettings {
  std::vector<std::string> ids;
  int connections = 8;
};

struct ListSettings {
  bool json = false;
};

struct ProcessesSettings {
  std::string url = "http://127.0.0.1:10242";
  std::string admin_key;
  bool json = false;
};

struct RemoveSettings {
  std::vector<std::string> ids;
};

// Each runs to its end and returns the exit status; a StartupError passes through.
int run_serve(const ServeSettings& settings);
int run_chat(const ChatSettings& settings);
int run_bench(const BenchSettings& settings);
int run_inspect(const InspectSettings& settings);
int run_pull(const PullSettings& settings);
int run_list(const ListSettings& settings);
int run_processes(const ProcessesSettings& settings);
int run_remove(const RemoveSettings& settings);

}  // namespace mlxd
