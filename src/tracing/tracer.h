#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tracing/exporter.h"
#include "tracing/sampler.h"
#include "tracing/settings.h"
#include "tracing/span.h"

namespace mlxd::tracing {

// Says which requests are traced, and takes their spans. `begin` and `new_span_id` belong to one
// thread; the others are any thread's.
class Tracer {
 public:
  // `version` is the program's. Throws StartupError as Exporter does.
  Tracer(const Settings& settings, std::string version);
  // Sends by a test's function.
  Tracer(const Settings& settings, std::string version, Exporter::Post post);

  // Of a request with these headers ("" where it has none). Nothing: it is not to be traced.
  std::optional<SpanContext> begin(std::string_view traceparent, std::string_view tracestate);
  SpanId new_span_id();
  void end(std::vector<Span>&& spans) noexcept { exporter_.add(std::move(spans)); }
  void drop(std::int64_t spans) noexcept { exporter_.drop(spans); }  // that could not be made
  SpanCounts counts() const { return exporter_.counts(); }

 private:
  template <class Id>
  Id new_id();

  const Sampler sampler_;
  std::mt19937_64 random_;
  Exporter exporter_;
};

}  // namespace mlxd::tracing
