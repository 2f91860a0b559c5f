#include "api/metrics.h"

#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <spdlog/spdlog.h>

#include "api/request_log.h"

namespace mlxd::api {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const prometheus::Histogram::BucketBoundaries kRequestBuckets = {
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300};
const prometheus::Histogram::BucketBoundaries kFirstTokenBuckets = {
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const prometheus::Histogram::BucketBoundaries kTokenBuckets = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};

prometheus::Histogram& histogram(prometheus::Registry& registry, const char* name, const char* help,
                                 const prometheus::Histogram::BucketBoundaries& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

ClientMetric sample(MetricType type, std::vector<ClientMetric::Label> labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return metric;
}

// One family of a figure that each engine keeps itself.
struct EngineFigure {
  const char* name;
  const char* help;
  MetricType type;
  double (*value)(const EngineStats& stats);
};

double kv_usage(const EngineStats& s) {
  return s.kv_blocks_total > 0 ? double(s.kv_blocks_used) / s.kv_blocks_total : 0;
}

constexpr EngineFigure kEngineFigures[] = {
    {"mlxd_queued_requests", "Requests that wait for their first step.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.queued_requests); }},
    {"mlxd_queued_tokens", "Tokens of the prompts that wait for their first step.",
     MetricType::Gauge, [](const EngineStats& s) { return double(s.queued_tokens); }},
    {"mlxd_running_sequences", "Sequences that hold KV blocks.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.running_sequences); }},
    {"mlxd_kv_blocks_used", "KV blocks that requests hold.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.kv_blocks_used); }},
    {"mlxd_kv_blocks_cached", "KV blocks that no request holds and the prefix cache keeps.",
     MetricType::Gauge, [](const EngineStats& s) { return double(s.kv_blocks_cached); }},
    {"mlxd_kv_blocks_held",
     "KV blocks of sessions and of prefixes that requests have pinned: evicted after all others.",
     MetricType::Gauge, [](const EngineStats& s) { return double(s.kv_blocks_held); }},
    {"mlxd_kv_blocks_total", "KV blocks there are.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.kv_blocks_total); }},
    {"mlxd_states_used", "Slots with recurrent states that requests hold.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.states_used); }},
    {"mlxd_states_cached",
     "Slots with recurrent states that no request holds and the prefix cache keeps.",
     MetricType::Gauge, [](const EngineStats& s) { return double(s.states_cached); }},
    {"mlxd_states_total", "Slots for recurrent states there are.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.states_total); }},
    {"mlxd_heartbeat_age_seconds", "Time since the inference thread last showed life.",
     MetricType::Gauge, [](const EngineStats& s) { return s.heartbeat_age_seconds; }},
    {"mlxd_engine_healthy", "1 while the inference thread steps, 0 when it hangs or has died.",
     MetricType::Gauge, [](const EngineStats& s) { return s.healthy ? 1.0 : 0.0; }},
    {"mlxd_hangs_total", "Steps that hung and cost requests.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.hangs); }},
    {"mlxd_steps_total", "Forward steps.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.steps); }},
    {"mlxd_prompt_tokens_total", "Prompt tokens computed.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.prompt_tokens); }},
    {"mlxd_cached_prompt_tokens_total", "Prompt tokens found in the prefix cache.",
     MetricType::Counter, [](const EngineStats& s) { return double(s.cached_prompt_tokens); }},
    {"mlxd_generated_tokens_total", "Tokens drawn.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.generated_tokens); }},
    {"mlxd_drafted_tokens_total", "Guessed tokens that were computed.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.drafted_tokens); }},
    {"mlxd_accepted_tokens_total", "Guessed tokens that came true, each a step saved.",
     MetricType::Counter, [](const EngineStats& s) { return double(s.accepted_tokens); }},
    {"mlxd_prefix_disk_blocks", "KV blocks that the prefix cache has on disk.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.prefix_store.blocks); }},
    {"mlxd_prefix_disk_bytes", "What they take there.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.prefix_store.bytes); }},
    {"mlxd_prefix_disk_hits_total", "KV blocks found on disk and read.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.prefix_store.read); }},
    {"mlxd_prefix_disk_writes_total", "KV blocks written to disk.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.prefix_store.written); }},
    {"mlxd_prefix_disk_damaged_total", "KV blocks on disk that were damaged, and removed.",
     MetricType::Counter, [](const EngineStats& s) { return double(s.prefix_store.damaged); }},
    {"mlxd_prefix_disk_dropped_total",
     "KV blocks not written to disk, since too many were on their way or it failed.",
     MetricType::Counter, [](const EngineStats& s) { return double(s.prefix_store.dropped); }},
    {"mlxd_preemptions_total", "Sequences that lost their KV blocks for a while.",
     MetricType::Counter, [](const EngineStats& s) { return double(s.preemptions); }},
};

// The same under the names by which balancers for vLLM know them: the endpoint picker of
// Kubernetes' Gateway API inference extension, and llm-d. Of each engine too, as one of `engine` 0.
constexpr EngineFigure kVllmFigures[] = {
    {"vllm:num_requests_waiting", "Requests that wait, begun and preempted ones included.",
     MetricType::Gauge,
     [](const EngineStats& s) { return double(s.queued_requests + s.preempted_sequences); }},
    {"vllm:num_requests_running", "Sequences that hold KV blocks.", MetricType::Gauge,
     [](const EngineStats& s) { return double(s.running_sequences); }},
    {"vllm:kv_cache_usage_perc", "KV blocks that requests hold, of all: 1 is all.",
     MetricType::Gauge, kv_usage},
    {"vllm:gpu_cache_usage_perc", "The same under its older name.", MetricType::Gauge, kv_usage},
    {"vllm:prefix_cache_queries_total", "Prompt tokens that were looked for in the prefix cache.",
     MetricType::Counter,
     [](const EngineStats& s) { return double(s.prompt_tokens + s.cached_prompt_tokens); }},
    {"vllm:prefix_cache_hits_total", "Prompt tokens found there.", MetricType::Counter,
     [](const EngineStats& s) { return double(s.cached_prompt_tokens); }},
};

using Labels = std::vector<ClientMetric::Label>;

Labels vllm_labels(const ScrapeState::Model& model) {
  return {{"model_name", model.id}, {"engine", "0"}};
}

// Of each model, every figure of a table.
template <std::size_t size, class LabelsOf>
void add_figures(std::vector<MetricFamily>& families, const EngineFigure (&figures)[size],
                 const ScrapeState& state, LabelsOf labels) {
  for (const EngineFigure& figure : figures) {
    MetricFamily family{figure.name, figure.help, figure.type, {}};
    for (const auto& model : state.models) {
      family.metric.push_back(sample(figure.type, labels(model), figure.value(model.stats)));
    }
    families.push_back(std::move(family));
  }
}

MetricFamily vllm_cache_config(const ScrapeState& state) {
  MetricFamily family{"vllm:cache_config_info",
                      "Constant 1, labelled with the tokens of a KV block and how many there are.",
                      MetricType::Gauge,
                      {}};
  for (const auto& model : state.models) {
    Labels labels = vllm_labels(model);
    labels.push_back({"block_size", std::to_string(model.block_size)});
    labels.push_back({"num_gpu_blocks", std::to_string(model.stats.kv_blocks_total)});
    family.metric.push_back(sample(MetricType::Gauge, std::move(labels), 1));
  }
  return family;
}

}  // namespace

class Metrics::Impl : public EngineObserver {
 public:
  void on_step(double seconds, int rows, int) override {
    step_seconds_.Observe(seconds);
    step_rows_.Observe(rows);
  }

  Impl() {
    for (const std::string_view endpoint : {"chat", "completions", "messages", "responses"}) {
      for (const Outcome outcome : {Outcome::completed, Outcome::refused, Outcome::cancelled,
                                    Outcome::timeout, Outcome::error}) {
        counters_.push_back({endpoint, outcome, &counter_of(endpoint, outcome)});
      }
    }
  }

  void request_ended(const RequestRecord& record) noexcept {
    count(record);
    if (record.outcome == Outcome::completed) request_seconds_.Observe(record.total_seconds);
    if (record.outcome != Outcome::refused) queue_seconds_.Observe(record.queue_seconds);
  }

  // Those of known endpoints are made beforehand: when a request ends for want of memory there may
  // be none to make its counter.
  void count(const RequestRecord& record) noexcept try {
    for (const auto& known : counters_) {
      if (known.endpoint != record.endpoint || known.outcome != record.outcome) continue;
      return known.counter->Increment();
    }
    counter_of(record.endpoint, record.outcome).Increment();
  } catch (const std::bad_alloc&) {
    spdlog::error("a request could not be counted");
  }
  prometheus::Counter& counter_of(std::string_view endpoint, Outcome outcome) {
    return requests_.Add(
        {{"endpoint", std::string(endpoint)}, {"outcome", std::string(outcome_name(outcome))}});
  }

  struct KnownCounter {
    std::string_view endpoint;
    Outcome outcome;
    prometheus::Counter* counter;
  };
  std::vector<KnownCounter> counters_;
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_ =
      prometheus::BuildCounter()
          .Name("mlxd_requests_total")
          .Help("Generation requests that ended, by endpoint and outcome.")
          .Register(registry_);
  prometheus::Histogram& request_seconds_ = histogram(
      registry_, "mlxd_request_seconds", "Whole time of completed requests.", kRequestBuckets);
  prometheus::Histogram& queue_seconds_ = histogram(
      registry_, "mlxd_queue_seconds", "Time of accepted requests in the queue.", kRequestBuckets);
  prometheus::Histogram& first_token_seconds_ =
      histogram(registry_, "mlxd_time_to_first_token_seconds",
                "From a request's arrival to its first text.", kFirstTokenBuckets);
  prometheus::Histogram& between_tokens_seconds_ =
      histogram(registry_, "mlxd_time_between_tokens_seconds",
                "Between the pieces of text of one choice.", kTokenBuckets);
  prometheus::Histogram& step_seconds_ =
      histogram(registry_, "mlxd_step_seconds", "One forward step.", kTokenBuckets);
  prometheus::Histogram& step_rows_ =
      histogram(registry_, "mlxd_step_rows", "Rows (tokens) of a forward step.",
                {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048});
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

EngineObserver* Metrics::engine_observer() { return impl_.get(); }

void Metrics::request_ended(const RequestRecord& record) noexcept { impl_->request_ended(record); }

void Metrics::first_token(double seconds) { impl_->first_token_seconds_.Observe(seconds); }

void Metrics::between_tokens(double seconds) { impl_->between_tokens_seconds_.Observe(seconds); }

std::string Metrics::text(const ScrapeState& state) const {
  auto families = impl_->registry_.Collect();
  add_figures(families, kEngineFigures, state,
              [](const auto& model) { return Labels{{"model", model.id}}; });
  add_figures(families, kVllmFigures, state, vllm_labels);
  families.push_back(vllm_cache_config(state));
  MetricFamily memory{
      "mlxd_memory_bytes",
      "Memory that a model holds, and what connections do; states are recurrent ones; kv_reserved "
      "is the whole cache with its states, of which systems give what is written.",
      MetricType::Gauge,
      {}};
  for (const auto& model : state.models) {
    const MemoryUse& use = model.stats.memory;
    const std::pair<const char*, std::size_t> parts[] = {{"weights", use.weights},
                                                         {"kv_cache", use.kv_cache},
                                                         {"states", use.states},
                                                         {"kv_reserved", use.kv_reserved},
                                                         {"buffers", use.buffers}};
    for (const auto& [part, bytes] : parts) {
      memory.metric.push_back(
          sample(MetricType::Gauge, {{"model", model.id}, {"part", part}}, double(bytes)));
    }
  }
  if (state.server) {
    memory.metric.push_back(sample(MetricType::Gauge, {{"part", "connections"}},
                                   double(state.server->body_bytes + state.server->buffer_bytes)));
  }
  families.push_back(std::move(memory));
  const auto gauge = [&families](const char* name, const char* help, double value) {
    families.push_back({name, help, MetricType::Gauge, {sample(MetricType::Gauge, {}, value)}});
  };
  if (state.resident_bytes > 0) {
    gauge("process_resident_memory_bytes", "Memory of the whole process.",
          double(state.resident_bytes));
  }
  if (state.server) {
    gauge("mlxd_connections", "Open HTTP connections.", state.server->connections);
    gauge("mlxd_request_body_bytes", "Request bodies that connections hold.",
          double(state.server->body_bytes));
  }
  if (state.spans) {
    MetricFamily spans{"mlxd_trace_spans_total",
                       "Spans of traces, by whether the collector took them or they were dropped.",
                       MetricType::Counter,
                       {}};
    const auto count = [&spans](const char* outcome, std::int64_t value) {
      spans.metric.push_back(
          sample(MetricType::Counter, {{"outcome", outcome}}, static_cast<double>(value)));
    };
    count("exported", state.spans->exported);
    count("dropped", state.spans->dropped);
    families.push_back(std::move(spans));
  }
  MetricFamily build{
      "mlxd_build_info", "Constant 1, labelled with what is running.", MetricType::Gauge, {}};
  for (const auto& model : state.models) {
    build.metric.push_back(
        sample(MetricType::Gauge,
               {{"version", state.version}, {"model", model.id}, {"backend", model.backend}}, 1));
  }
  families.push_back(std::move(build));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace mlxd::api
