#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "tracing/trace_context.h"

namespace mlxd::tracing {

// Names as OpenTelemetry's semantic conventions have them, of static storage.
using AttributeValue = std::variant<std::string, std::int64_t, bool, std::vector<std::string>>;
struct Attribute {
  std::string_view name;
  AttributeValue value;
};

enum class SpanKind { internal = 1, server = 2 };  // by OTLP's numbers

// A piece of work with its beginning and end.
struct Span {
  TraceId trace_id{};
  SpanId id{};
  std::optional<SpanId> parent;
  bool parent_is_remote = false;
  std::string trace_state;
  std::string name;
  SpanKind kind = SpanKind::internal;
  std::int64_t begin = 0, end = 0;  // nanoseconds since 1970
  std::vector<Attribute> attributes;
  bool failed = false;
  std::string failure;  // with `failed`: a word for why
};

// The place in a trace of a request whose spans are recorded.
struct SpanContext {
  TraceId trace_id{};
  SpanId span_id{};              // of the request's own span
  std::optional<SpanId> parent;  // of the caller
  std::string trace_state;
};

// What became of the spans so far; those that wait are in neither.
struct SpanCounts {
  std::int64_t exported = 0;
  std::int64_t dropped = 0;  // no room in the queue, or not taken by the collector
};

// Tells what the time of day was at points of the clock that never jumps. All that one says belongs
// together: what comes later in it is later, whatever is done to the system's clock meanwhile.
class WallClock {
 public:
  WallClock();
  std::int64_t at(TimePoint point) const;  // nanoseconds since 1970

 private:
  TimePoint point_;
  std::int64_t nanoseconds_;
};

}  // namespace mlxd::tracing
