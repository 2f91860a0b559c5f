#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tracing/otlp_json.h"
#include "tracing/sampler.h"

namespace mlxd::tracing {

// Where spans go and which there are, as OpenTelemetry's variables say it
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
struct Settings {
  std::string url;  // of the collector's traces: http(s)://host:4318/v1/traces
  std::vector<std::pair<std::string, std::string>> headers;  // of each request there; may be secret
  std::string certificates;     // a file of CAs; "": the user's or the system's
  double timeout_seconds = 10;  // of one request
  Resource resource;            // service.name, and what OTEL_RESOURCE_ATTRIBUTES says
  Sampler sampler;
  double delay_seconds = 5;  // that a span waits for others
  std::size_t queue_spans = 2048, batch_spans = 512;
};

// `endpoint` is that of the option --otlp-endpoint and goes before the variables; like
// OTEL_EXPORTER_OTLP_ENDPOINT it is what "/v1/traces" is added to. Nothing: no endpoint is given,
// or tracing is off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER=none. As OpenTelemetry wants it, a
// variable that cannot be used is a warning, and is as one that is not set; but an endpoint that is
// none throws StartupError. Both name the variable.
std::optional<Settings> settings_from_environment(std::string_view endpoint,
                                                  std::vector<std::string>& warnings);

// The address without a user's name and password, for the log.
std::string without_credentials(std::string_view url);

}  // namespace mlxd::tracing
