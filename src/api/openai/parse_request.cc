#include "api/openai/parse_request.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/generation/model_directory.h"
#include "api/json_reader.h"
#include "api/openai/parameters.h"
#include "api/openai/read_values.h"
#include "api/request_parts.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

Error missing(std::string param, std::string_view what_to_send) {
  Error error = bad_value(param, fmt::format("'{}' is missing; send {}.", param, what_to_send));
  error.code = "missing_required_parameter";
  return error;
}

// A key of no row for this endpoint. One that the other endpoint has is worth saying so.
Result<void> unknown_key(std::string name, Endpoint endpoint, RequestFields& fields) {
  const auto other = endpoint == Endpoint::chat ? Endpoint::completions : Endpoint::chat;
  if (fields.lenient || find_parameter(name, other) == nullptr) {
    return fields.unknown(std::move(name));
  }
  Error error = bad_value(
      name, fmt::format("'{}' is a parameter of {}, not of this endpoint; leave it out.", name,
                        other == Endpoint::chat ? "/v1/chat/completions" : "/v1/completions"));
  error.code = "unknown_parameter";
  return error;
}

Result<RequestFields> read_fields(const json::object& body, const ParseOptions& options) {
  RequestFields fields;
  fields.lenient = options.lenient;
  UnknownNames unknown;
  for (const auto& member : body) {
    if (member.value().is_null()) continue;  // null counts as absent
    const std::string_view name(member.key().data(), member.key().size());
    const auto* row = find_parameter(name, options.endpoint);
    auto read = row == nullptr ? unknown_key(std::string(name), options.endpoint, fields)
                               : row->read(member.value(), fields);
    if (!read && !unknown.took(read.error())) return read.error();
  }
  if (auto known = unknown.result(); !known) return known.error();
  return fields;
}

Result<void> check_required(const json::object& body, Endpoint endpoint) {
  const auto has = [&](std::string_view name) {
    const auto* value = body.if_contains(name);
    return value != nullptr && !value->is_null();
  };
  for (const auto& row : parameters()) {
    if (row.applies_to(endpoint) && row.default_value == "required" && !has(row.name)) {
      return missing(std::string(row.name), row.describe());
    }
  }
  return {};
}

Result<void> check_limits(RequestFields& fields, const ParseOptions& options) {
  if (fields.max_completion_tokens >= 0) {
    if (fields.job.max_tokens >= 0 && fields.job.max_tokens != fields.max_completion_tokens) {
      return bad_value("max_tokens",
                       "'max_tokens' and 'max_completion_tokens' differ; send one of them.");
    }
    fields.job.max_tokens = fields.max_completion_tokens;
  }
  if (options.endpoint == Endpoint::chat) {
    fields.text.cut_to_fit = true;  // agents send one large number for all models
  } else if (fields.job.max_tokens < 0) {
    fields.job.max_tokens = 16;
  }
  if (fields.job.max_tokens >= 0 && fields.job.min_tokens > fields.job.max_tokens) {
    return bad_value("min_tokens",
                     fmt::format("'min_tokens' is {}, but at most {} tokens will be made; send no "
                                 "more than that.",
                                 fields.job.min_tokens, fields.job.max_tokens));
  }
  if (fields.timeout_seconds.value_or(0) > options.max_timeout_seconds) {
    return bad_value("timeout", fmt::format("'timeout' is out of range; send at most {} seconds.",
                                            options.max_timeout_seconds));
  }
  return {};
}

// Parameters that hold only together.
Result<void> check_pairs(const RequestFields& fields) {
  if (fields.job.sampling.top_logprobs > 0 && !fields.job.sampling.logprobs) {
    return bad_value("top_logprobs", "'top_logprobs' needs 'logprobs': true; send both.");
  }
  if (fields.has_stream_options && !fields.stream) {
    return bad_value("stream_options", "'stream_options' needs 'stream': true; send both.");
  }
  if (fields.best_of >= 0 && fields.best_of < fields.n) {
    return bad_value("best_of", fmt::format("'best_of' is {}, less than 'n'; send at least {}.",
                                            fields.best_of, fields.n));
  }
  if (fields.stream && fields.best_of > fields.n) {
    return bad_value("best_of",
                     "'best_of' above 'n' cannot be streamed: the best answer is known "
                     "only at the end; leave one of them out.");
  }
  return {};
}

Result<void> check_tokens(const RequestFields& fields, int vocab_size) {
  for (const auto& bias : fields.job.sampling.logit_bias) {
    if (bias.token >= vocab_size) {
      return bad_value("logit_bias",
                       fmt::format("'logit_bias' names token {}; this model's ids end at {}.",
                                   bias.token, vocab_size - 1));
    }
  }
  for (const auto& prompt : fields.prompts) {
    const auto* given = std::get_if<TokenPrompt>(&prompt);
    if (given == nullptr) continue;
    for (const int token : given->tokens) {
      if (token >= vocab_size) {
        return bad_value("prompt", fmt::format("'prompt' has token {}; this model's ids end at {}.",
                                               token, vocab_size - 1));
      }
    }
  }
  return {};
}

// Log-probabilities: the completions' parameter is a number. best_of compares answers by the mean
// of theirs, shown or not.
void settle_logprobs(RequestFields& fields) {
  SamplingParams& sampling = fields.job.sampling;
  if (fields.completion_logprobs >= 0) {
    sampling.logprobs = true;
    sampling.top_logprobs = fields.completion_logprobs;
    if (fields.text.echo) fields.job.prompt_logprobs = fields.completion_logprobs;
  }
  if (fields.job.samples > fields.n) sampling.logprobs = true;
}

OpenAiRequest finish(RequestFields fields, const ParseOptions& options, LeasedModel model) {
  GenerateJob& job = fields.job;
  if (!fields.seed) {
    job.sampling.seed = random_seed();
    fields.seed = std::to_string(job.sampling.seed);
  }
  OpenAiRequest parsed;
  parsed.wire.endpoint = options.endpoint;
  parsed.wire.include_usage = fields.include_usage;
  parsed.wire.continuous_usage = fields.continuous_usage;
  parsed.wire.logprobs = job.sampling.logprobs || fields.completion_logprobs >= 0;
  parsed.wire.token_ids = fields.token_ids;
  parsed.wire.legacy_functions = fields.legacy_functions;
  job.samples = fields.best_of >= 0 ? fields.best_of : fields.n;
  settle_logprobs(fields);
  job.progress = fields.return_progress && fields.stream;
  job.deadline = deadline_after(fields.timeout_seconds.value_or(options.max_timeout_seconds));
  parsed.seed = *std::move(fields.seed);
  parsed.ignored = std::move(fields.ignored);
  ParsedRequest& request = parsed.request;
  request.model = std::move(model);
  request.prompts = std::move(fields.prompts);
  request.text = std::move(fields.text);
  request.job = std::move(job);
  request.choices = fields.n;
  request.stream = fields.stream;
  return parsed;
}

}  // namespace

Result<OpenAiRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models) {
  const auto object = read_json_object(body);
  if (!object) return object.error();
  return parse_request(*object, options, models);
}

Result<OpenAiRequest> parse_request(const json::object& object, const ParseOptions& options,
                                    const ModelDirectory& models) {
  auto fields = read_fields(object, options);
  if (!fields) return fields.error();
  if (auto checked = check_required(object, options.endpoint); !checked) return checked.error();
  if (auto checked = check_limits(*fields, options); !checked) return checked.error();
  if (auto checked = check_pairs(*fields); !checked) return checked.error();
  if (options.endpoint == Endpoint::chat) {
    if (auto settled = settle_chat(*fields); !settled) return settled.error();
  }
  auto model = models.find(fields->model);
  if (!model) return model.error();
  if (auto checked = check_tokens(*fields, (*model)->info().vocab_size); !checked) {
    return checked.error();
  }
  return finish(*std::move(fields), options, *std::move(model));
}

}  // namespace mlxd::api
