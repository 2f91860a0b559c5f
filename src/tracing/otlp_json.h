#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tracing/span.h"

namespace mlxd::tracing {

// Who the spans are of: service.name and others, by their names.
using Resource = std::vector<std::pair<std::string, std::string>>;

// An ExportTraceServiceRequest in OTLP's JSON (opentelemetry.io/docs/specs/otlp/#json-protobuf-
// encoding): ids in hexadecimal, numbers of 64 bits as texts. `version` is the program's.
std::string export_request(const Resource& resource, std::string_view version,
                           std::span<const Span> spans);

// What an answer with a status of success says of spans that were refused all the same.
struct PartialSuccess {
  std::int64_t rejected_spans = 0;
  std::string message;
};
// Anything else than that is none.
PartialSuccess read_partial_success(std::string_view body);

}  // namespace mlxd::tracing
