#pragma once

#include <functional>
#include <vector>

#include "api/generation/record.h"
#include "tracing/span.h"

namespace mlxd::api {

// The spans of a request whose record has a `trace`: its own first, which follows OpenTelemetry's
// semantic conventions for HTTP servers and for generative AI, then those of its parts, as far as
// their times are known: "load_model", "queue", "prefill" and "decode", or "queue_and_prefill"
// where the request ended before the engine told when its prompt began. `new_id` makes their ids.
std::vector<tracing::Span> spans_of(const RequestRecord& record, const tracing::WallClock& clock,
                                    const std::function<tracing::SpanId()>& new_id);

}  // namespace mlxd::api
