#include "api/ollama/parse_request.h"

#include <memory>
#include <string>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/ollama/find_model.h"
#include "api/ollama/parameters.h"
#include "api/ollama/wire.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

// Penalties count all of a text here: a part of it, where one was asked for, would be another
// answer.
Result<void> settle_penalties(Fields& fields) {
  SamplingParams& sampling = fields.job.sampling;
  const bool penalizes = sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 ||
                         sampling.frequency_penalty != 0;
  if (fields.repeat_last_n < 0 || !penalizes) return {};
  if (fields.repeat_last_n > 0) {
    return bad_value("options.repeat_last_n",
                     "'options.repeat_last_n' is not supported with a penalty: penalties count the "
                     "whole text here; leave it out, or send -1.");
  }
  sampling.repetition_penalty = 1;
  sampling.presence_penalty = sampling.frequency_penalty = 0;
  return {};
}

Result<void> settle_thinking(Fields& fields, const TextModel& model) {
  if (fields.think.value_or(false) && !model.card.reasons) {
    return bad_value(
        "think",
        fmt::format("\"{:.200}\" does not support thinking; leave 'think' out.", fields.model));
  }
  const json::object arguments = thinking_arguments(fields.effort, fields.think);
  if (!arguments.empty()) fields.chat.template_arguments_json = json::serialize(arguments);
  return {};
}

Result<void> settle_pairs(const Fields& fields) {
  if (fields.job.sampling.top_logprobs > 0 && !fields.job.sampling.logprobs) {
    return bad_value("top_logprobs", "'top_logprobs' needs 'logprobs': true; send both.");
  }
  if (fields.raw && !fields.system.empty()) {
    return bad_value("raw", "raw mode does not support template, system, or context");
  }
  return {};
}

std::string messages_of(const Fields& fields) {
  json::array messages;
  if (!fields.system.empty()) {
    messages.push_back({{"role", "system"}, {"content", fields.system}});
  }
  messages.push_back({{"role", "user"}, {"content", fields.prompt}});
  return json::serialize(messages);
}

// Nothing where there is nothing to answer.
Result<std::vector<Prompt>> prompts_of(Fields& fields, Endpoint endpoint, const TextModel& model) {
  std::vector<Prompt> prompts;
  if (endpoint == Endpoint::chat) {
    if (!fields.chat.messages_json.empty()) prompts.emplace_back(std::move(fields.chat));
    return prompts;
  }
  if (fields.prompt.empty()) return prompts;
  const bool base = model.card.chat_template.empty();
  if (base && !fields.system.empty()) {
    return bad_value("system", fmt::format("'system' needs a chat template, which {} has not; "
                                           "leave it out.",
                                           model.id));
  }
  if (fields.raw || base) {
    prompts.emplace_back(TextPrompt{std::move(fields.prompt)});
  } else {
    fields.chat.messages_json = messages_of(fields);
    prompts.emplace_back(std::move(fields.chat));
  }
  return prompts;
}

// x-seed, x-mlxd-ignored, and how much of a context there is of one that is too large.
http::Headers headers_of(const Fields& fields, int context) {
  http::Headers headers = answer_headers(std::to_string(fields.job.sampling.seed), fields.ignored);
  if (fields.context > context) headers.emplace_back("x-mlxd-num-ctx", std::to_string(context));
  return headers;
}

}  // namespace

Result<ParsedRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models) {
  const auto object = read_json_object(body);
  if (!object) return object.error();
  Fields fields;
  fields.lenient = options.lenient;
  fields.job.sampling = default_sampling();
  if (auto read = read_body(*object, options.endpoint, fields); !read) return read.error();
  if (auto settled = settle_pairs(fields); !settled) return settled.error();
  if (auto settled = settle_penalties(fields); !settled) return settled.error();
  auto model = find_model(fields.model, models);
  if (!model) return model.error();
  if (auto settled = settle_thinking(fields, **model); !settled) return settled.error();
  fields.job.sampling.seed = fields.seed ? *fields.seed : random_seed();
  fields.job.deadline = deadline_after(options.timeout_seconds);
  // Clients ask for more than there can be, and mean all that there is.
  fields.text.cut_to_fit = true;

  auto prompts = prompts_of(fields, options.endpoint, **model);
  if (!prompts) return prompts.error();
  ParsedRequest request;
  request.model = *std::move(model);
  request.prompts = *std::move(prompts);
  request.stream = fields.stream;
  request.headers = headers_of(fields, request.model->info().context_length);
  const bool unloads = fields.keep_alive == 0.0;
  const std::string_view idle = !request.prompts.empty() ? "" : unloads ? "unload" : "load";
  if (fields.keep_alive) models.keep_alive(request.model->id, *fields.keep_alive);
  request.writer = std::make_unique<Writer>(
      AnswerHead{options.endpoint, std::move(fields.model), fields.job.sampling.logprobs, idle});
  request.text = std::move(fields.text);
  request.job = std::move(fields.job);
  return request;
}

}  // namespace mlxd::api::ollama
