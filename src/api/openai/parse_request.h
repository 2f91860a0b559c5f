#pragma once

#include <string_view>

#include <boost/json/fwd.hpp>

#include "api/openai/request.h"
#include "base/error.h"

namespace mlxd::api {

class ModelDirectory;

struct ParseOptions {
  Endpoint endpoint = Endpoint::chat;
  bool lenient = false;              // unknown keys are collected instead of refused
  double max_timeout_seconds = 300;  // also the default
};

// A body of /v1/chat/completions or /v1/completions, checked against the parameter table
// (openai/parameters.h) and across parameters. Errors name the parameter: 400, or 404 for the
// model. Any thread.
Result<OpenAiRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models);

// The same of a body that was read.
Result<OpenAiRequest> parse_request(const boost::json::object& body, const ParseOptions& options,
                                    const ModelDirectory& models);

}  // namespace mlxd::api
