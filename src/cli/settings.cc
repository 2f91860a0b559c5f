#include "cli/settings.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/option_values.h"
#include "model/weights/gguf_split.h"

namespace mlxd {

ModelSetting parse_model_setting(const std::string& text) {
  const auto equals = text.find('=');
  if (equals != std::string::npos && equals > 0) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  if (text.empty()) throw StartupError("a model is named by an empty text");
  // "hf:" says where it comes from, and is no part of its name.
  if (text.starts_with("hf:")) return {text.substr(3), text};
  // A path is known by its last part; an id such as mlx-community/X by all of it.
  const bool is_file = text.ends_with(".gguf");
  if (!is_file && text.front() != '/' && text.front() != '.') {
    return {text.substr(0, text.find_last_not_of('/') + 1), text};
  }
  auto path = std::filesystem::absolute(text).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  const std::string name = path.filename().string();
  if (const auto part = gguf_part(name)) return {part->stem, text};
  return {is_file ? path.stem().string() : name, text};
}

std::vector<std::string> split_list(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) {
    if (value.starts_with('[')) {
      boost::system::error_code error;
      const auto json = boost::json::parse(value, error);
      if (error || !json.is_array()) {
        throw StartupError(fmt::format("{} is neither a list a,b,c nor a JSON list", value));
      }
      for (const auto& item : json.get_array()) {
        if (!item.is_string()) {
          throw StartupError(fmt::format("{}: every item of the list must be a string", value));
        }
        items.emplace_back(item.get_string());
      }
      continue;
    }
    for (std::size_t start = 0; start <= value.size();) {
      const std::size_t comma = std::min(value.find(',', start), value.size());
      if (comma > start) items.push_back(value.substr(start, comma - start));
      start = comma + 1;
    }
  }
  return items;
}

void adopt_mlx_server_environment() {
  constexpr std::array<std::pair<const char*, const char*>, 10> kNames = {{
      {"MLX_SERVER_AVAILABLE_MODELS", "MLXD_MODEL"},
      {"MLX_SERVER_DEFAULT_MODEL", "MLXD_DEFAULT_MODEL"},
      {"MLX_SERVER_HOST", "MLXD_HOST"},
      {"MLX_SERVER_PORT", "MLXD_PORT"},
      {"MLX_SERVER_TIMEOUT_CHAT_SECONDS", "MLXD_TIMEOUT_CHAT"},
      {"MLX_SERVER_TIMEOUT_COMPLETIONS_SECONDS", "MLXD_TIMEOUT_COMPLETIONS"},
      {"MLX_SERVER_DRAIN_TIMEOUT_SECONDS", "MLXD_DRAIN_TIMEOUT"},
      {"MLX_SERVER_MAX_MEMORY_GB", "MLXD_MAX_MEMORY_GB"},
      {"MLX_SERVER_MAX_MODELS", "MLXD_MAX_MODELS"},
      {"MLX_SERVER_PRELOAD_MODELS", "MLXD_PRELOAD_MODELS"},
  }};
  for (const auto& [theirs, ours] : kNames) {
    const char* value = std::getenv(theirs);
    if (value != nullptr && *value != '\0') ::setenv(ours, value, /*overwrite=*/0);
  }
}

namespace {

constexpr const char* kModels = "Models";
constexpr const char* kNetwork = "Network";
constexpr const char* kLimits = "Limits";
constexpr const char* kEngine = "Engine";

// A list, for split_list: each use is taken as it stands, since CLI11 would cut a JSON list in
// pieces of its own.
CLI::Option* add_list(CLI::App& app, const char* flag, std::vector<std::string>& values,
                      const char* text) {
  return app.add_option(flag, values, text)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void add_models(CLI::App& app, NamedModels& models) {
  app.add_option("FILE", models.files,
                 "a .gguf file, a folder with safetensors, or an id such as "
                 "mlx-community/Llama-3.2-1B-Instruct-4bit that lies in $MLXD_MODELS_DIR or the "
                 "Hugging Face cache; hf:OWNER/NAME[:QUANT] is fetched when it is not there; "
                 "NAME=FILE gives it a name of your own");
  add_list(app, "-m,--model", models.flags,
           "the same as an option: repeat it, or give a,b or a JSON list")
      ->envname("MLXD_MODEL")
      ->group(kModels);
}

std::vector<ModelSetting> listed_models(const NamedModels& models) {
  std::vector<ModelSetting> listed;
  for (const std::string& text : models.files) listed.push_back(parse_model_setting(text));
  for (const std::string& text : split_list(models.flags)) {
    listed.push_back(parse_model_setting(text));
  }
  return listed;
}

ModelSetting the_model(const NamedModels& models, std::string_view command) {
  const std::vector<ModelSetting> listed = listed_models(models);
  if (listed.empty()) throw StartupError(no_model_is_named(command));
  if (listed.size() == 1) return listed.front();
  throw StartupError(fmt::format("{} takes one model, and these are {}: {} and {}", command,
                                 listed.size(), listed[0].where, listed[1].where));
}

std::string no_model_is_named(std::string_view command) {
  return fmt::format(
      "no model is named; give a .gguf file, a folder or an id, as in: mlxd {} model.gguf (--model "
      "takes the same)",
      command);
}

void add_memory_options(CLI::App& app, EngineSettings& settings) {
  app.add_option("--context", settings.context,
                 "tokens of context at most (0: the model's own); less needs less memory")
      ->envname("MLXD_CONTEXT")
      ->check(whole_number(0, 1 << 24))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--backend", settings.backend.name,
                 "cpu, cuda, mlx, or auto: cuda where there is a card (default: cpu on Linux, mlx "
                 "on macOS)")
      ->envname("MLXD_BACKEND")
      ->check(one_of({"cpu", "cuda", "mlx", "auto"}))
      ->group(kEngine);
  app.add_option("--kv-cache-gb", settings.kv_cache_gb,
                 "memory of a model's KV cache in GiB (0: its share of a quarter of what is free)")
      ->envname("MLXD_KV_CACHE_GB")
      ->check(in_range(0, 4096))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option(
         "--kv-cache-type", settings.backend.kv_cache_type,
         "f16, or int8: half the memory and less to read at long contexts, for a small loss")
      ->envname("MLXD_KV_CACHE_TYPE")
      ->check(one_of({"f16", "int8"}))
      ->default_str("f16")
      ->group(kEngine);
  app.add_option(
         "--max-memory-gb", settings.max_memory_gb,
         "weights, buffers and KV caches of all models together, in GiB (0: no limit of its own)")
      ->envname("MLXD_MAX_MEMORY_GB")
      ->check(in_range(0, 4096))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--max-running", settings.max_running, "sequences that are decoded together")
      ->envname("MLXD_MAX_RUNNING")
      ->check(whole_number(1, 4096))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--step-tokens", settings.step_tokens,
                 "tokens of one step: how large the pieces are in which prompts are read")
      ->envname("MLXD_STEP_TOKENS")
      ->check(whole_number(16, 8192))
      ->capture_default_str()
      ->group(kEngine);
}

void add_prefix_cache_dir(CLI::App& app, EngineSettings& settings) {
  app.add_option("--prefix-cache-dir", settings.prefix_cache_dir,
                 "folder in which the prefix cache survives a restart (default: none); it will "
                 "hold what prompts and answers said")
      ->envname("MLXD_PREFIX_CACHE_DIR")
      ->group(kEngine);
}

void add_max_connections(CLI::App& app, int& max_connections) {
  app.add_option("--max-connections", max_connections, "connections at a time")
      ->envname("MLXD_MAX_CONNECTIONS")
      ->check(whole_number(1, 1000000))
      ->capture_default_str()
      ->group(kLimits);
}

void add_engine_options(CLI::App& app, EngineSettings& settings) {
  add_memory_options(app, settings);
  app.add_option("--threads", settings.backend.threads,
                 "compute threads of the cpu backend (0: one for each core)")
      ->envname("MLXD_THREADS")
      ->check(whole_number(0, 1024))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option(
         "--cpu-isa", settings.backend.isa,
         "portable, avx2, avx512_vnni or amx; on Arm portable, neon, neon_dotprod or neon_i8mm "
         "(default: the best that this processor runs)")
      ->envname("MLXD_CPU_ISA")
      ->check(
          one_of({"portable", "avx2", "avx512_vnni", "amx", "neon", "neon_dotprod", "neon_i8mm"}))
      ->group(kEngine);
  app.add_option("--max-queued", settings.max_queued,
                 "requests that may wait; beyond it the answer is 429. They begin by their "
                 "`priority`, then in turns between API keys")
      ->envname("MLXD_MAX_QUEUED")
      ->check(whole_number(1, 1000000))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--max-queued-tokens", settings.max_queued_tokens,
                 "tokens that the prompts of waiting requests may have together; beyond it 429")
      ->envname("MLXD_MAX_QUEUED_TOKENS")
      ->check(whole_number(1, 1'000'000'000))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--hang-timeout", settings.hang_timeout,
                 "seconds that a step of the model may take before it counts as hung")
      ->envname("MLXD_HANG_TIMEOUT")
      ->check(in_range(0.001, 3600))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--max-draft-tokens", settings.max_draft_tokens,
                 "tokens guessed from a text's own repetitions and checked in one step: the same "
                 "answers, sooner (0: none)")
      ->envname("MLXD_MAX_DRAFT_TOKENS")
      ->check(whole_number(0, 64))
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--tool-parser", settings.parsers.tools,
                 "how models write tool calls (default: as their chat template shows)")
      ->envname("MLXD_TOOL_PARSER")
      ->check(one_of(tool_parser_names()))
      ->group(kEngine);
  app.add_option("--reasoning-parser", settings.parsers.reasoning,
                 "how models write their reasoning (default: as their chat template shows)")
      ->envname("MLXD_REASONING_PARSER")
      ->check(one_of(reasoning_parser_names()))
      ->group(kEngine);
}

void add_serve_options(CLI::App& app, ServeSettings& settings) {
  app.add_option("--config", settings.config, "a TOML file with these settings")
      ->envname("MLXD_CONFIG");
  add_models(app, settings.models);
  app.add_option("--default-model", settings.default_model,
                 "the model that the name \"default\" stands for (default: the first)")
      ->envname("MLXD_DEFAULT_MODEL")
      ->group(kModels);
  app.add_option("--max-models", settings.max_models, "refuse to start with more models (0: any)")
      ->envname("MLXD_MAX_MODELS")
      ->check(whole_number(0, 1000))
      ->capture_default_str()
      ->group(kModels);
  add_list(app, "--preload-models", settings.preload_models,
           "models to load at start and to keep; the others are loaded when they are first asked "
           "for, and let go when one needs their room (default: all but those of --model-folder; "
           "none: none)")
      ->envname("MLXD_PRELOAD_MODELS")
      ->group(kModels);
  add_list(app, "--model-folder", settings.model_folders,
           "a folder of models: .gguf files and model folders, also in folders of their owners")
      ->envname("MLXD_MODEL_FOLDER")
      ->group(kModels);
  app.add_option("--model-ttl", settings.model_ttl,
                 "seconds without a request after which a model that is not preloaded is let go "
                 "(0: when another needs its room)")
      ->envname("MLXD_MODEL_TTL")
      ->check(in_range(0, 1'000'000))
      ->capture_default_str()
      ->group(kModels);
  add_list(app, "--alias", settings.aliases,
           "NAME=MODEL: another name of a model; claude-*=MODEL is all names that begin so")
      ->envname("MLXD_ALIAS")
      ->group(kModels);

  app.add_option("--host", settings.host, "address to bind")
      ->envname("MLXD_HOST")
      ->capture_default_str()
      ->group(kNetwork);
  app.add_option("--port", settings.port, "port to bind (0: any free one)")
      ->envname("MLXD_PORT")
      ->check(whole_number(0, 65535))
      ->capture_default_str()
      ->group(kNetwork);
  add_list(app, "--api-key", settings.api_keys,
           "key that clients must send as a bearer token; repeat it, or give a,b")
      ->envname("MLXD_API_KEY")
      ->group(kNetwork);
  add_list(app, "--admin-key", settings.admin_keys,
           "key with which models are loaded and unloaded over HTTP (default: on this machine "
           "alone, and without --api-key, everybody may)")
      ->envname("MLXD_ADMIN_KEY")
      ->group(kNetwork);
  app.add_flag("--no-auth", settings.no_auth,
               "serve without a key on an address that is not this machine's own")
      ->envname("MLXD_NO_AUTH")
      ->group(kNetwork);
  add_list(app, "--allowed-host", settings.allowed_hosts,
           "Host names to answer to, beside this machine's own; * for all")
      ->envname("MLXD_ALLOWED_HOST")
      ->group(kNetwork);
  add_list(app, "--cors-origin", settings.cors_origins,
           "web origins whose pages may call, e.g. https://chat.example.org")
      ->envname("MLXD_CORS_ORIGIN")
      ->group(kNetwork);
  app.add_flag("--lenient", settings.lenient,
               "ignore unknown request keys, named in the header x-mlxd-ignored, instead of 400")
      ->envname("MLXD_LENIENT")
      ->group(kNetwork);
  app.add_flag("--no-web", settings.no_web, "serve the API alone, without the page at /")
      ->envname("MLXD_NO_WEB")
      ->group(kNetwork);

  const auto seconds = [&](const char* flag, double& value, const char* variable,
                           const char* text) {
    app.add_option(flag, value, text)
        ->envname(variable)
        ->check(in_range(0.01, 86400))
        ->capture_default_str()
        ->group(kLimits);
  };
  seconds("--timeout-chat", settings.timeout_chat, "MLXD_TIMEOUT_CHAT",
          "seconds a chat request may take");
  seconds("--timeout-completions", settings.timeout_completions, "MLXD_TIMEOUT_COMPLETIONS",
          "seconds a completion request may take");
  seconds("--drain-timeout", settings.drain_timeout, "MLXD_DRAIN_TIMEOUT",
          "seconds that running requests get to end after SIGTERM");
  seconds("--header-timeout", settings.header_timeout, "MLXD_HEADER_TIMEOUT",
          "seconds for a request's header to arrive");
  seconds("--body-timeout", settings.body_timeout, "MLXD_BODY_TIMEOUT",
          "seconds for a request's body to arrive");
  seconds("--idle-timeout", settings.idle_timeout, "MLXD_IDLE_TIMEOUT",
          "seconds a connection may stay open without a request");
  seconds("--write-stall-timeout", settings.write_stall_timeout, "MLXD_WRITE_STALL_TIMEOUT",
          "seconds a client may take no byte of its answer");
  add_max_connections(app, settings.max_connections);

  add_engine_options(app, settings.engine);
  app.add_flag("--exit-on-hang", settings.exit_on_hang,
               "end the process with code 70 when a model hangs, for a supervisor to restart it")
      ->envname("MLXD_EXIT_ON_HANG")
      ->group(kEngine);
  // "on" and "off" are CLI11's own words for a boolean.
  app.add_option("--prefix-cache", settings.engine.prefix_cache,
                 "on or off: keep the computed beginnings of prompts while the KV cache has room")
      ->envname("MLXD_PREFIX_CACHE")
      ->default_str("on")
      ->type_name("on|off")
      ->group(kEngine);
  add_prefix_cache_dir(app, settings.engine);
  app.add_option("--prefix-cache-disk-gb", settings.engine.prefix_cache_disk_gb,
                 "GiB that the folder may hold for each model")
      ->envname("MLXD_PREFIX_CACHE_DISK_GB")
      ->check(in_range(0.001, 1'000'000))
      ->capture_default_str()
      ->group(kEngine);
  app.add_flag("--share-prefix-cache", settings.share_prefix_cache,
               "let all API keys share the prefix cache; else a key finds its own prompts alone")
      ->envname("MLXD_SHARE_PREFIX_CACHE")
      ->group(kEngine);
  app.add_option("--resume-seconds", settings.resume_seconds,
                 "seconds that a stream goes on without its client, which may come back and read "
                 "on with Last-Event-ID (0: not at all)")
      ->envname("MLXD_RESUME_SECONDS")
      ->check(in_range(0, 600))
      ->capture_default_str()
      ->group(kLimits);
  app.add_option("--response-store-mb", settings.response_store_mb,
                 "MiB of answers of /v1/responses kept for previous_response_id (0: none)")
      ->envname("MLXD_RESPONSE_STORE_MB")
      ->check(whole_number(0, 1'000'000))
      ->capture_default_str()
      ->group(kLimits);

  app.add_option("--otlp-endpoint", settings.otlp_endpoint,
                 "an OpenTelemetry collector, as http://localhost:4318, that gets traces of the "
                 "requests (default: as OTEL_EXPORTER_OTLP_ENDPOINT says; else none are made)")
      ->envname("MLXD_OTLP_ENDPOINT");
  app.add_option("--log-format", settings.log_format, "text or json")
      ->envname("MLXD_LOG_FORMAT")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  app.add_option("--log-level", settings.log_level, "debug, info, warning or error")
      ->envname("MLXD_LOG_LEVEL")
      ->check(one_of({"debug", "info", "warning", "error"}))
      ->capture_default_str();
}

}  // namespace mlxd
