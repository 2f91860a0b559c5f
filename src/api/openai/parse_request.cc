#include "api/openai/parse_request.h"

#include <random>
#include <string>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/model_port.h"
#include "api/openai/parameters.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

Error missing(std::string param, std::string_view what_to_send) {
  Error error = bad_value(param, fmt::format("'{}' is missing; send {}.", param, what_to_send));
  error.code = "missing_required_parameter";
  return error;
}

// A key of no row for this endpoint. One that the other endpoint has is worth saying so.
Result<void> unknown_key(std::string name, Endpoint endpoint, Draft& draft) {
  const auto other = endpoint == Endpoint::chat ? Endpoint::completions : Endpoint::chat;
  if (draft.lenient || find_parameter(name, other) == nullptr) {
    return draft.unknown(std::move(name));
  }
  Error error = bad_value(
      name, fmt::format("'{}' is a parameter of {}, not of this endpoint; leave it out.", name,
                        other == Endpoint::chat ? "/v1/chat/completions" : "/v1/completions"));
  error.code = "unknown_parameter";
  return error;
}

Result<Draft> read_draft(const json::object& body, const ParseOptions& options) {
  Draft draft;
  draft.lenient = options.lenient;
  for (const auto& member : body) {
    if (member.value().is_null()) continue;  // null counts as absent
    const std::string_view name(member.key().data(), member.key().size());
    const auto* row = find_parameter(name, options.endpoint);
    auto read = row == nullptr ? unknown_key(std::string(name), options.endpoint, draft)
                               : row->read(member.value(), draft);
    if (!read) return read.error();
  }
  return draft;
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

Result<void> check_limits(Draft& draft, const ParseOptions& options) {
  if (draft.max_completion_tokens >= 0) {
    if (draft.max_tokens >= 0 && draft.max_tokens != draft.max_completion_tokens) {
      return bad_value("max_tokens",
                       "'max_tokens' and 'max_completion_tokens' differ; send one of them.");
    }
    draft.max_tokens = draft.max_completion_tokens;
  }
  if (draft.max_tokens < 0 && options.endpoint == Endpoint::completions) draft.max_tokens = 16;
  if (draft.max_tokens >= 0 && draft.min_tokens > draft.max_tokens) {
    return bad_value("min_tokens",
                     fmt::format("'min_tokens' is {}, but at most {} tokens will be made; send no "
                                 "more than that.",
                                 draft.min_tokens, draft.max_tokens));
  }
  if (draft.timeout_seconds.value_or(0) > options.max_timeout_seconds) {
    return bad_value("timeout", fmt::format("'timeout' is out of range; send at most {} seconds.",
                                            options.max_timeout_seconds));
  }
  return {};
}

// Parameters that hold only together.
Result<void> check_pairs(const Draft& draft) {
  if (draft.top_logprobs > 0 && !draft.logprobs) {
    return bad_value("top_logprobs", "'top_logprobs' needs 'logprobs': true; send both.");
  }
  if (draft.has_stream_options && !draft.stream) {
    return bad_value("stream_options", "'stream_options' needs 'stream': true; send both.");
  }
  if (draft.best_of >= 0 && draft.best_of < draft.n) {
    return bad_value("best_of", fmt::format("'best_of' is {}, less than 'n'; send at least {}.",
                                            draft.best_of, draft.n));
  }
  if (draft.stream && draft.best_of > draft.n) {
    return bad_value("best_of",
                     "'best_of' above 'n' cannot be streamed: the best answer is known "
                     "only at the end; leave one of them out.");
  }
  return {};
}

Result<void> check_tokens(const Draft& draft, int vocab_size) {
  for (const auto& bias : draft.logit_bias) {
    if (bias.token >= vocab_size) {
      return bad_value("logit_bias",
                       fmt::format("'logit_bias' names token {}; this model's ids end at {}.",
                                   bias.token, vocab_size - 1));
    }
  }
  for (const auto& prompt : draft.prompts) {
    for (const int token : prompt.tokens) {
      if (token >= vocab_size) {
        return bad_value("prompt", fmt::format("'prompt' has token {}; this model's ids end at {}.",
                                               token, vocab_size - 1));
      }
    }
  }
  return {};
}

// A seed that also survives clients whose only numbers are doubles.
std::uint64_t random_seed() {
  std::random_device device;
  const std::uint64_t bits = (std::uint64_t{device()} << 32) | device();
  return bits >> 11;
}

GenerateRequest shared_part(const Draft& draft, const ParseOptions& options) {
  GenerateRequest request;
  request.sampling = draft;
  request.samples = draft.best_of >= 0 ? draft.best_of : draft.n;
  if (draft.completion_logprobs >= 0) {
    request.sampling.logprobs = true;
    request.sampling.top_logprobs = draft.completion_logprobs;
    if (draft.echo) request.echo_logprobs = draft.completion_logprobs;
  }
  // best_of compares answers by their mean log-probability.
  if (request.samples > draft.n) request.sampling.logprobs = true;
  request.max_tokens = draft.max_tokens;
  request.min_tokens = draft.min_tokens;
  request.priority = draft.priority;
  request.ignore_eos = draft.ignore_eos;
  request.stop = draft.stop;
  request.echo = draft.echo;
  request.timeout_seconds = draft.timeout_seconds.value_or(options.max_timeout_seconds);
  return request;
}

ParsedRequest finish(Draft draft, const ParseOptions& options, LeasedModel model) {
  if (!draft.seed_text) {
    draft.seed = random_seed();
    draft.seed_text = std::to_string(draft.seed);
  }
  ParsedRequest parsed;
  parsed.model = std::move(model);
  parsed.seed = *draft.seed_text;
  GenerateRequest request = shared_part(draft, options);
  parsed.wire.endpoint = options.endpoint;
  parsed.wire.stream = draft.stream;
  parsed.wire.include_usage = draft.include_usage;
  parsed.wire.logprobs = draft.logprobs || draft.completion_logprobs >= 0;
  parsed.wire.top_logprobs = request.sampling.top_logprobs;
  parsed.wire.token_ids = draft.token_ids;
  parsed.wire.choices = draft.n;
  parsed.wire.samples = request.samples;
  parsed.timeout_seconds = request.timeout_seconds;
  parsed.ignored = std::move(draft.ignored);
  if (options.endpoint == Endpoint::chat) {
    request.messages_json = std::move(draft.messages_json);
    parsed.prompts.push_back(std::move(request));
    return parsed;
  }
  for (auto& prompt : draft.prompts) {
    auto& one = parsed.prompts.emplace_back(request);
    one.prompt_text = std::move(prompt.text);
    one.prompt_tokens = std::move(prompt.tokens);
  }
  return parsed;
}

}  // namespace

Result<ParsedRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models) {
  auto value = read_json(body);
  if (!value) return value.error();
  if (!value->is_object()) {
    Error error = bad_value("", "The body must be a JSON object.");
    error.code = "invalid_json";
    return error;
  }
  const auto& object = value->get_object();
  auto draft = read_draft(object, options);
  if (!draft) return draft.error();
  if (auto checked = check_required(object, options.endpoint); !checked) return checked.error();
  if (auto checked = check_limits(*draft, options); !checked) return checked.error();
  if (auto checked = check_pairs(*draft); !checked) return checked.error();
  auto model = models.find(draft->model);
  if (!model) return model.error();
  if (auto checked = check_tokens(*draft, (*model)->info().vocab_size); !checked) {
    return checked.error();
  }
  return finish(*std::move(draft), options, *std::move(model));
}

}  // namespace mlxd::api
