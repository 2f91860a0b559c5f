#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/api.h"
#include "api/metrics.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/descriptor_limit.h"
#include "cli/hub_models.h"
#include "cli/load_report.h"
#include "cli/logging.h"
#include "cli/models_to_serve.h"
#include "cli/service_manager.h"
#include "cli/stop_signals.h"
#include "cli/version.h"
#include "http/server.h"
#include "models/local_models.h"
#include "models/model_pool.h"
#include "tracing/tracer.h"
#include "web/web.h"

namespace mlxd {
namespace {

// sysexits.h's EX_SOFTWARE: a supervisor may tell it from a mistake in the settings, which is 1.
constexpr int kExitHung = 70;

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

http::ServerOptions server_options(const ServeSettings& settings, const api::Api& api) {
  http::ServerOptions options;
  options.host = settings.host;
  options.port = settings.port;
  options.api_keys = split_list(settings.api_keys);
  options.admin_keys = split_list(settings.admin_keys);
  options.open_to_admin = is_loopback(settings.host) && settings.api_keys.empty();
  options.allowed_hosts = split_list(settings.allowed_hosts);
  options.cors_origins = split_list(settings.cors_origins);
  options.header_seconds = settings.header_timeout;
  options.body_seconds = settings.body_timeout;
  options.idle_seconds = settings.idle_timeout;
  options.write_stall_seconds = settings.write_stall_timeout;
  options.max_connections = settings.max_connections;
  options.error_body = api.http_error_body();
  return options;
}

void log_memory(const MemoryPlan& memory) {
  const auto mebibytes = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  spdlog::info(
      "memory: weights and buffers of at most {:.0f} MiB, KV cache of at most {:.0f} MiB; "
      "available: {:.0f} MiB",
      mebibytes(memory.weights_and_buffers()), mebibytes(memory.kv_cache()),
      mebibytes(memory.available));
  if (memory.room > 0) {
    spdlog::info("memory: {:.0f} MiB for models that are loaded on demand", mebibytes(memory.room));
  }
  for (const std::string& warning : memory.warnings) spdlog::warn("{}", warning);
}

// Descriptors beside the connections': the log, the models, the event loop.
constexpr int kOtherDescriptors = 64;

void make_room_for_connections(int connections) {
  const long limit = raise_descriptor_limit(long{connections} + kOtherDescriptors);
  if (limit >= connections + kOtherDescriptors) return;
  spdlog::warn(
      "--max-connections is {}, but this process may open only {} files: raise the hard limit "
      "(ulimit -Hn, or LimitNOFILE= of a systemd unit), or connections beyond it will wait",
      connections, limit);
}

bool all_healthy(ModelPool& models) {
  return std::ranges::all_of(models.ready(),
                             [](const auto& model) { return model->engine->stats().healthy; });
}

// Whether one has ended its requests for a step that hung, even if the step then ended.
bool any_hung(ModelPool& models) {
  return std::ranges::any_of(models.ready(),
                             [](const auto& model) { return model->engine->stats().hangs > 0; });
}

// The inference thread is stuck in a step and cannot be joined: what there is to say was said.
[[noreturn]] void exit_hung() {
  spdlog::critical("a step of a model has hung: exiting with code {}", kExitHung);
  spdlog::shutdown();
  std::_Exit(kExitHung);
}

// A signal while the models are read ends the process at once: nobody is served yet.
class StopWhileLoading {
 public:
  explicit StopWhileLoading(const StopSignals& signals)
      : thread_([this, &signals] {
          while (!loaded_) {
            if (!signals.wait_for(0.01)) continue;
            spdlog::info("stopped while loading");
            spdlog::shutdown();
            std::_Exit(0);
          }
        }) {}
  ~StopWhileLoading() {
    loaded_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> loaded_{false};
  std::thread thread_;
};

// Until SIGTERM or SIGINT: tells the service manager that all is well while it is. A model that
// hangs has ended its requests itself; by option the process then makes way for its successor.
void supervise(const ServeSettings& settings, const StopSignals& signals, ServiceManager& manager,
               http::Server& server, ModelPool& models) {
  while (!signals.wait_for(0.5)) {
    const bool healthy = all_healthy(models);
    if (healthy) manager.alive();
    if (settings.exit_on_hang && (!healthy || any_hung(models))) {
      server.stop_accepting();
      server.wait_until_idle(2);  // the streams' last words
      exit_hung();
    }
  }
}

// SIGTERM came: lets what runs end, up to the limit or a second signal; ends the rest with an
// error.
void shut_down(const ServeSettings& settings, const StopSignals& signals, api::Api& api,
               http::Server& server, ModelPool& models) {
  spdlog::info("stopping: running requests have {} s to end; another signal stops at once",
               settings.drain_timeout);
  api.drain();
  server.stop_accepting();
  models.close();  // nothing more is loaded for whoever waits for it
  for (const ModelLease& model : models.ready()) model->engine->drain();
  bool idle = false;
  const TimePoint start = Clock::now();
  while (!idle && seconds_between(start, Clock::now()) < settings.drain_timeout) {
    if (signals.wait_for(0.001)) break;
    idle = server.wait_until_idle(0.05);
  }
  if (!idle) {
    Error error;
    error.status = 503;
    error.code = "server_stopping";
    error.message = "The server is stopping; send the request again.";
    error.retry_after_seconds = 5;
    for (const ModelLease& model : models.ready()) model->engine->abort_all(error);
    server.wait_until_idle(2);
  }
  if (!all_healthy(models)) exit_hung();
}

void log_loaded(const std::string& id, const Engine& engine) {
  const RunnerInfo& info = engine.info();
  spdlog::info("loaded {} ({} backend {}, context {}, weights {:.0f} MiB, KV cache {} blocks)", id,
               info.backend, info.instruction_set, info.context_length,
               static_cast<double>(info.weight_bytes) / (1 << 20), engine.stats().kv_blocks_total);
  const int longest = engine.longest_sequence();
  if (longest < info.context_length) {
    spdlog::warn(
        "the KV cache holds {} tokens, fewer than the context of {}: longer requests are refused; "
        "raise --kv-cache-gb for them",
        longest, info.context_length);
  }
}

// Without --default-model it is the first that is served.
void name_default(std::vector<PooledModel>& models) {
  const auto facts = [](const PooledModel& each) -> const ModelFacts& { return each.model; };
  if (find_named(models, "default", facts) == models.end()) {
    models.front().model.aliases.push_back("default");
  }
}

// Fetches and opens what is to be served, makes sure that there is memory for it, and has loaded
// what is to be there at once. A signal ends the process meanwhile.
void load_models(const ServeSettings& settings, std::vector<ModelSetting> to_serve,
                 const StopSignals& signals, EngineObserver* observer, ModelPool& pool) {
  const StopWhileLoading stop(signals);
  locate_models(to_serve, Missing::refuse,
                [](const std::string& line) { spdlog::info("{}", line); });
  LocalModels local(to_serve, settings.engine, kVersion);
  admit(local.memory());
  log_memory(local.memory());
  std::vector<PooledModel> models;
  for (std::size_t i = 0; i < local.size(); ++i) {
    const ModelSetting setting = local.setting(i);
    try {
      models.push_back(local.take(i, observer));
    } catch (const LoadError& error) {
      if (!setting.left_out) throw;
      spdlog::warn("{} is left out: {}", setting.name, error.what());
      continue;
    }
    PooledModel& model = models.back();
    model.load = [load = std::move(model.load), id = setting.name](const LoadProgress& progress) {
      const LoadProgress report = load_report(id);
      auto engine = load([&](double done) {
        progress(done);
        report(done);
      });
      log_loaded(id, *engine);
      return engine;
    };
    if (setting.on_demand) spdlog::info("{} is loaded when it is asked for", setting.name);
  }
  if (models.empty())
    throw StartupError("none of the models can be served; see the warnings above");
  name_default(models);
  pool.start(std::move(models), local.memory().total());
}

// As it stands in an address.
std::string address_of(const ServeSettings& settings, const http::Server& server) {
  const std::string& host = settings.host;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", is_ipv6 ? "[" + host + "]" : host, server.port());
}

// A request that the first model answers, to be typed.
std::string example_for(const std::string& address, const ModelPool& pool) {
  const auto first = pool.status().front().model;
  std::string_view path = "/v1/chat/completions";
  std::string_view rest = R"("messages": [{"role": "user", "content": "Hello!"}])";
  if (!first->card.generates) {
    const bool scores = first->card.pooled && first->card.pooled->is_score;
    path = scores ? "/v1/rerank" : "/v1/embeddings";
    rest = scores ? R"("query": "Hello!", "documents": ["Good morning"])" : R"("input": "Hello!")";
  }
  return fmt::format("curl {}{} -H 'Content-Type: application/json' -d '{{\"model\": \"{}\", {}}}'",
                     address, path, first->id, rest);
}

// Off unless a collector is named.
void set_up_tracing(const ServeSettings& settings, std::optional<tracing::Tracer>& tracer) {
  std::vector<std::string> warnings;
  const auto found = tracing::settings_from_environment(settings.otlp_endpoint, warnings);
  for (const std::string& warning : warnings) spdlog::warn("{}", warning);
  if (!found) return;
  tracer.emplace(*found, kVersion);
  spdlog::info("traces of requests go to {}", tracing::without_credentials(found->url));
}

}  // namespace

int run_serve(const ServeSettings& settings) {
  const StopSignals signals;
  set_up_logging(settings.log_level, settings.log_format);
  for (const std::string& warning : settings.warnings) spdlog::warn("{}", warning);
  if (!is_loopback(settings.host) && settings.api_keys.empty() && !settings.no_auth) {
    throw StartupError(fmt::format(
        "--host {} can be reached from other machines: give --api-key, or --no-auth if everyone "
        "there may use it",
        settings.host));
  }
  std::vector<ModelSetting> to_serve = models_to_serve(settings);
  std::optional<tracing::Tracer> tracer;
  set_up_tracing(settings, tracer);

  api::Metrics metrics;
  ModelPool pool({.idle_seconds = settings.model_ttl});
  api::ApiOptions api_options;
  api_options.version = kVersion;
  api_options.lenient = settings.lenient;
  api_options.share_prefix_cache = settings.share_prefix_cache;
  api_options.resume_seconds = settings.resume_seconds;
  api_options.response_store_bytes = static_cast<std::size_t>(settings.response_store_mb) << 20;
  api_options.chat_timeout_seconds = settings.timeout_chat;
  api_options.completions_timeout_seconds = settings.timeout_completions;
  api_options.tracer = tracer ? &*tracer : nullptr;
  api_options.json_log = settings.log_format == "json";
  api::Api api(api_options, metrics, pool);
  make_room_for_connections(settings.max_connections);
  http::Router router;
  api.mount(router);
  http::Handler index = api::Api::index(router);
  if (!settings.no_web) web::mount_assets(router);
  router.add("GET", "/", settings.no_web ? index : web::page_or(index), http::Key::none);
  // Before the models are loaded, which may take minutes: a port that is taken is told at once, and
  // whoever asks meanwhile is told to wait instead of being left in the listener's queue.
  http::Server server(server_options(settings, api), std::move(router));
  api.set_server_stats([&server] { return server.stats(); });
  const std::string address = address_of(settings, server);
  spdlog::info("bound {}; it answers 503 until the models are loaded", address);

  load_models(settings, std::move(to_serve), signals, metrics.engine_observer(), pool);
  spdlog::info("listening on {}", address);
  if (settings.host == "127.0.0.1" && settings.log_format == "text") {
    if (!settings.no_web) spdlog::info("open {} in a browser to chat", address);
    spdlog::info("try: {}", example_for(address, pool));
  }
  ServiceManager manager;
  manager.ready();
  supervise(settings, signals, manager, server, pool);
  manager.stopping();
  shut_down(settings, signals, api, server, pool);
  spdlog::info("stopped");
  return 0;
}

}  // namespace mlxd
