#include "tracing/tracer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>

namespace mlxd::tracing {
namespace {

std::mt19937_64 seeded_at_random() {
  std::random_device device;
  std::array<std::random_device::result_type, 8> seeds;
  std::ranges::generate(seeds, std::ref(device));
  std::seed_seq sequence(seeds.begin(), seeds.end());
  return std::mt19937_64(sequence);
}

std::int64_t nanoseconds(auto duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

}  // namespace

WallClock::WallClock()
    : point_(Clock::now()),
      nanoseconds_(nanoseconds(std::chrono::system_clock::now().time_since_epoch())) {}

std::int64_t WallClock::at(TimePoint point) const {
  return nanoseconds_ + nanoseconds(point - point_);
}

Tracer::Tracer(const Settings& settings, std::string version)
    : sampler_(settings.sampler),
      random_(seeded_at_random()),
      exporter_(settings, std::move(version)) {}

Tracer::Tracer(const Settings& settings, std::string version, Exporter::Post post)
    : sampler_(settings.sampler),
      random_(seeded_at_random()),
      exporter_(settings, std::move(version), std::move(post), Exporter::Pace()) {}

template <class Id>
Id Tracer::new_id() {
  Id id;
  do {
    for (std::size_t i = 0; i < id.size(); i += 8) {
      const std::uint64_t bits = random_();
      std::memcpy(id.data() + i, &bits, 8);
    }
  } while (id == Id{});
  return id;
}

SpanId Tracer::new_span_id() { return new_id<SpanId>(); }

std::optional<SpanContext> Tracer::begin(std::string_view traceparent,
                                         std::string_view tracestate) {
  auto parent = read_trace_context(traceparent, tracestate);
  SpanContext context;
  context.trace_id = parent ? parent->trace_id : new_id<TraceId>();
  if (!sampler_.samples(context.trace_id, parent ? &*parent : nullptr)) return std::nullopt;
  context.span_id = new_span_id();
  if (parent) {
    context.parent = parent->span_id;
    context.trace_state = std::move(parent->trace_state);
  }
  return context;
}

}  // namespace mlxd::tracing
