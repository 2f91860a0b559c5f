#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/engine_settings.h"

namespace CLI {
class App;
}

namespace mlxd {

// `NAME=WHERE`, or `WHERE` alone, which then names it too.
ModelSetting parse_model_setting(const std::string& text);

// The models that a command is given, as FILE or with --model.
struct NamedModels {
  std::vector<std::string> files, flags;
};
void add_models(CLI::App& app, NamedModels& models);
std::vector<ModelSetting> listed_models(const NamedModels& models);
// Of a command that takes exactly one. Throws StartupError.
ModelSetting the_model(const NamedModels& models, std::string_view command);
std::string no_model_is_named(std::string_view command);

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
  NamedModels models;
  std::string default_model;
  std::vector<std::string> model_folders;
  std::vector<std::string> preload_models;
  std::vector<std::string> aliases;  // NAME=MODEL
  double model_ttl = 0;              // seconds that an idle model stays; 0: until room is needed
  int max_models = 0;                // 0: no limit
  EngineSettings engine;

  std::string host = "127.0.0.1";
  std::uint16_t port = 10242;
  std::vector<std::string> api_keys, admin_keys;
  bool no_auth = false;
  std::vector<std::string> allowed_hosts, cors_origins;
  bool lenient = false;
  bool no_web = false;  // a browser gets at / what programs get, and no page
  bool share_prefix_cache = false;
  double resume_seconds = 0;   // that a stream goes on without its client; 0: not at all
  int response_store_mb = 64;  // MiB of answers kept for previous_response_id; 0: none
  double timeout_chat = 300, timeout_completions = 300, drain_timeout = 30;
  double header_timeout = 10, body_timeout = 30, idle_timeout = 60, write_stall_timeout = 30;
  int max_connections = kMaxConnections;
  bool exit_on_hang = false;
  std::string otlp_endpoint;  // of a collector of traces; "": OpenTelemetry's variables say it
  std::string log_format = "text", log_level = "info";
  std::vector<std::string> warnings;  // about the settings themselves, for the log
};
void add_serve_options(CLI::App& app, ServeSettings& settings);

// Copies MLX_SERVER_* variables to their MLXD_* names where those are not set. Called once, before
// the command line is parsed and any thread exists.
void adopt_mlx_server_environment();

// "a,b" or a JSON list of strings, as MLX_SERVER_AVAILABLE_MODELS may be either.
std::vector<std::string> split_list(const std::vector<std::string>& values);

}  // namespace mlxd
