// tracing: spans of OpenTelemetry, from the request that they belong to (W3C Trace Context) to a
// collector (OTLP over HTTP, in JSON). A Tracer says which requests are traced and takes their
// spans; an Exporter sends them, on a thread of its own. api/ makes spans of what it records of a
// request; nothing here knows what a request is, and nobody waits for what happens here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mlxd::tracing {

using TraceId = std::array<std::uint8_t, 16>;  // not all zeros
using SpanId = std::array<std::uint8_t, 8>;    // not all zeros

// The span of a caller elsewhere in which a request was made.
struct RemoteParent {
  TraceId trace_id{};
  SpanId span_id{};
  bool sampled = false;     // the caller records its own spans
  std::string trace_state;  // as it came; "" where it was none
};

// What the headers traceparent and tracestate say (https://www.w3.org/TR/trace-context). Nothing
// where traceparent is none: the request then begins a trace. A malformed tracestate is left out.
// Of a header that came several times, the values joined with commas.
std::optional<RemoteParent> read_trace_context(std::string_view traceparent,
                                               std::string_view tracestate);

std::string to_hex(std::span<const std::uint8_t> id);  // lower case

}  // namespace mlxd::tracing
