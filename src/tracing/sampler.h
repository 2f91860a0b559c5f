#pragma once

#include <optional>
#include <string_view>

#include "tracing/trace_context.h"

namespace mlxd::tracing {

// Which requests are traced, as OpenTelemetry's samplers say it: all, a part, or none, unless they
// follow their caller.
struct Sampler {
  bool follows_parent = true;  // parentbased_*: a caller's word counts before `ratio`
  double ratio = 1;            // of all traces, 0 to 1

  // `parent`: null where the trace begins here. The same trace has the same answer on every server
  // with this ratio: it is a matter of the id's last eight bytes, which are random.
  bool samples(const TraceId& id, const RemoteParent* parent) const;
};

// By the names of OTEL_TRACES_SAMPLER: always_on, always_off, traceidratio, and parentbased_ before
// each of them; `ratio` is for the third. Nothing for another name.
std::optional<Sampler> sampler_named(std::string_view name, double ratio);

}  // namespace mlxd::tracing
