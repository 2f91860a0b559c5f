// What a traced request costs: the thread that answers it, and the one that sends its spans.
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "api/request_trace.h"
#include "tracing/otlp_json.h"
#include "tracing/tracer.h"

namespace mlxd {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

api::RequestRecord some_record() {
  api::RequestRecord record;
  record.id = "0123456789abcdef0123456789abcdef";
  record.endpoint = "chat";
  record.path = "/v1/chat/completions";
  record.arrived = Clock::now();
  record.ask.name = record.model = "SmolLM2-135M-Instruct";
  record.status = 200;
  record.outcome = api::Outcome::completed;
  record.finish = "stop";
  record.prompt_tokens = 128;
  record.completion_tokens = 64;
  record.accepted_seconds = 0.001;
  record.queue_seconds = 0.001;
  record.knows_queue = true;
  record.first_token_seconds = 0.05;
  record.total_seconds = 1;
  return record;
}

tracing::Settings settings(double ratio) {
  tracing::Settings settings;
  settings.resource = {{"service.name", "mlxd"}};
  settings.sampler = {.follows_parent = false, .ratio = ratio};
  settings.delay_seconds = 0;
  settings.queue_spans = 1 << 16;
  return settings;
}

tracing::Sent take(const std::string&, const std::function<bool()>&) { return {.taken = true}; }

// Of the I/O thread, beside what it does for every request.
void request(benchmark::State& state) {
  tracing::Tracer tracer(settings(static_cast<double>(state.range(0))), "1", take);
  api::RequestRecord record = some_record();
  for (auto _ : state) {
    record.trace = tracer.begin(kParent, "congo=t61rcWkgMzE");
    if (!record.trace) continue;
    tracer.end(
        api::spans_of(record, tracing::WallClock(), [&tracer] { return tracer.new_span_id(); }));
  }
  state.counters["dropped"] = static_cast<double>(tracer.counts().dropped);
}
// No more than the queue has room for: what is dropped is cheaper.
BENCHMARK(request)->ArgName("sampled")->Arg(0)->Arg(1)->Iterations(10'000);

// Of the exporter's thread, a request of four spans.
void export_of_a_request(benchmark::State& state) {
  tracing::Tracer tracer(settings(1), "1", take);
  api::RequestRecord record = some_record();
  record.trace = tracer.begin(kParent, "");
  const std::vector<tracing::Span> spans =
      api::spans_of(record, tracing::WallClock(), [&tracer] { return tracer.new_span_id(); });
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::string body = tracing::export_request(settings(1).resource, "1", spans);
    benchmark::DoNotOptimize(bytes = body.size());
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(export_of_a_request);

}  // namespace
}  // namespace mlxd

BENCHMARK_MAIN();
