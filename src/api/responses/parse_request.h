#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "api/responses/fields.h"
#include "base/error.h"

namespace mlxd::api {
class ModelDirectory;
}

namespace mlxd::api::responses {

struct ParseOptions {
  bool lenient = false;              // unknown keys are collected instead of refused
  double max_timeout_seconds = 300;  // also the default
};

// A body of /v1/responses, checked against the parameter table and across parameters. Errors name
// the parameter: 400, or 404 for the model. Any thread.
Result<Request> parse_request(std::string_view body, const ParseOptions& options,
                              const ModelDirectory& models,
                              const std::shared_ptr<ResponseStore>& store, std::uint64_t caller);

}  // namespace mlxd::api::responses
