#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backends.h"

namespace CLI {
class App;
}

namespace mlxd {

// A model that the operator asks for: `NAME=WHERE`, or `WHERE` alone, which then names it too.
struct ModelSetting {
  std::string name;   // the id that clients use
  std::string where;  // a path, or an id that find_model looks up
};
ModelSetting parse_model_setting(const std::string& text);

// How much memory and which device models get; shared by all commands.
struct EngineSettings {
  BackendOptions backend;
  double kv_cache_gb = 0;    // of each model; 0: together a quarter of the memory that is free
  double max_memory_gb = 0;  // weights, buffers and KV of all models; 0: no limit of its own
  int max_running = 64;
  int max_queued = 256;
  std::int64_t max_queued_tokens = 1 << 18;
  int step_tokens = 512;
  double hang_timeout = 10;
  bool prefix_cache = true;
  std::string prefix_cache_dir;  // "": in memory alone
  double prefix_cache_disk_gb = 8;
  int max_draft_tokens = 8;
};
void add_engine_options(CLI::App& app, EngineSettings& settings);

// Those of the options of serve that bear on memory, for inspect too.
void add_memory_options(CLI::App& app, EngineSettings& settings);
void add_prefix_cache_dir(CLI::App& app, EngineSettings& settings);
void add_max_connections(CLI::App& app, int& max_connections);

inline constexpr int kMaxConnections = 12000;

// Everything `mlxd serve` can be told, by flag, environment variable (MLXD_* or mlx-manager's
// MLX_SERVER_*) or configuration file key, in this order of precedence.
struct ServeSettings {
  std::string config;  // a TOML file with the rest
  std::vector<std::string> models;
  std::string default_model;
  std::vector<std::string> preload_models;
  int max_models = 0;  // 0: no limit
  EngineSettings engine;

  std::string host = "127.0.0.1";
  std::uint16_t port = 10242;
  std::vector<std::string> api_keys;
  bool no_auth = false;
  std::vector<std::string> allowed_hosts, cors_origins;
  bool lenient = false;
  bool share_prefix_cache = false;
  double timeout_chat = 300, timeout_completions = 300, drain_timeout = 30;
  double header_timeout = 10, body_timeout = 30, idle_timeout = 60, write_stall_timeout = 30;
  int max_connections = kMaxConnections;
  bool exit_on_hang = false;
  std::string log_format = "text", log_level = "info";
};
void add_serve_options(CLI::App& app, ServeSettings& settings);

// Gives every option that neither a flag nor a variable has set the value of its key in a TOML
// file. Throws StartupError that names the key, or a CLI::ParseError for a value out of range.
void read_config_file(CLI::App& app, const std::string& path);

// Copies MLX_SERVER_* variables to their MLXD_* names where those are not set. Called once, before
// the command line is parsed and any thread exists.
void adopt_mlx_server_environment();

// "a,b" or a JSON list of strings, as MLX_SERVER_AVAILABLE_MODELS may be either.
std::vector<std::string> split_list(const std::vector<std::string>& values);

}  // namespace mlxd
