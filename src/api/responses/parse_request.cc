#include "api/responses/parse_request.h"

#include <string>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/generation/model_directory.h"
#include "api/json_reader.h"
#include "api/responses/parameters.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

Result<Fields> read_fields(const json::object& body, bool lenient) {
  Fields fields;
  fields.lenient = lenient;
  UnknownNames unknown;
  for (const auto& member : body) {
    if (member.value().is_null()) continue;  // null counts as absent
    const std::string_view name(member.key().data(), member.key().size());
    const auto* row = find_parameter(name);
    auto read =
        row == nullptr ? fields.unknown(std::string(name)) : row->read(member.value(), fields);
    if (!read && !unknown.took(read.error())) return read.error();
  }
  if (auto known = unknown.result(); !known) return known.error();
  return fields;
}

Error missing(std::string param, std::string_view what_to_send) {
  Error error = bad_value(param, fmt::format("'{}' is missing; send {}.", param, what_to_send));
  error.code = "missing_required_parameter";
  return error;
}

Result<void> check(const Fields& fields, double max_timeout_seconds) {
  if (fields.model.empty()) return missing("model", find_parameter("model")->describe());
  if (fields.input == nullptr && fields.previous_response_id.empty()) {
    return missing("input", find_parameter("input")->describe());
  }
  if (fields.timeout_seconds.value_or(0) > max_timeout_seconds) {
    return bad_value("timeout", fmt::format("'timeout' is out of range; send at most {} seconds.",
                                            max_timeout_seconds));
  }
  return {};
}

Result<ResponseStore::Items> earlier_items(const Fields& fields, ResponseStore& store,
                                           std::uint64_t caller) {
  if (fields.previous_response_id.empty()) return ResponseStore::Items{};
  auto items = store.conversation(caller, fields.previous_response_id);
  if (items) return *std::move(items);
  Error error = bad_value(
      "previous_response_id",
      fmt::format("Previous response with id '{:.100}' not found: it was not stored, or is no "
                  "longer. Send the whole conversation as 'input'.",
                  fields.previous_response_id));
  error.code = "previous_response_not_found";
  return error;
}

// The conversation, the tools and what the template is told, as one prompt.
Result<ChatPrompt> make_prompt(Fields& fields, ResponseStore& store, std::uint64_t caller,
                               ResponseStore::Items& items) {
  auto messages = read_conversation(fields, store, caller, items);
  if (!messages) return messages.error();
  if (fields.said_choice != nullptr) {
    if (auto read = read_tool_choice(*fields.said_choice, fields); !read) return read.error();
  }
  ChatPrompt chat;
  chat.messages_json = *std::move(messages);
  if (!fields.tool_choice.none) fields.tools.list.put_into(chat);
  CallRule& rule = fields.text.calls;
  rule.must = fields.tool_choice.must;
  rule.only = std::move(fields.tool_choice.only);
  const bool is_named = rule.must && rule.only.size() == 1;
  rule.at_most_one = !fields.parallel_calls || is_named;
  rule.param = "tool_choice";
  const json::object arguments = thinking_arguments(fields.reasoning_effort, std::nullopt);
  if (!arguments.empty()) chat.template_arguments_json = json::serialize(arguments);
  return chat;
}

void settle_job(Fields& fields, double max_timeout_seconds) {
  GenerateJob& job = fields.job;
  fields.text.cut_to_fit = true;  // agents send one large number for all models
  if (!fields.seed) {
    job.sampling.seed = random_seed();
    fields.seed = std::to_string(job.sampling.seed);
  }
  fields.logprobs = fields.logprobs || job.sampling.top_logprobs > 0;
  job.sampling.logprobs = fields.logprobs;
  job.deadline = deadline_after(fields.timeout_seconds.value_or(max_timeout_seconds));
}

}  // namespace

Result<Request> parse_request(std::string_view body, const ParseOptions& options,
                              const ModelDirectory& models,
                              const std::shared_ptr<ResponseStore>& store, std::uint64_t caller) {
  auto value = read_json(body);
  if (!value) return value.error();
  if (!value->is_object()) {
    Error error = bad_value("", "The body must be a JSON object.");
    error.code = "invalid_json";
    return error;
  }
  auto fields = read_fields(value->get_object(), options.lenient);
  if (!fields) return fields.error();
  if (!store->keeps()) {
    fields->store = false;
    fields->echoed["store"] = false;
  }
  if (auto checked = check(*fields, options.max_timeout_seconds); !checked) return checked.error();
  auto items = earlier_items(*fields, *store, caller);
  if (!items) return items.error();
  auto prompt = make_prompt(*fields, *store, caller, *items);
  if (!prompt) return prompt.error();
  auto model = models.find(fields->model);
  if (!model) return model.error();
  settle_job(*fields, options.max_timeout_seconds);

  Request request;
  request.seed = *std::move(fields->seed);
  request.ignored = std::move(fields->ignored);
  request.shape.id = "resp_" + random_hex(48);
  request.shape.created = unix_time();
  request.shape.model = (*model)->id;
  request.shape.echoed = echo_members(*fields);
  request.shape.logprobs = fields->logprobs;
  request.shape.offered = std::move(fields->tools.offered);
  if (fields->store) {
    request.shape.store = store;
    request.shape.caller = caller;
    request.shape.conversation = *std::move(items);
  }
  request.parsed.model = *std::move(model);
  request.parsed.prompts.emplace_back(*std::move(prompt));
  request.parsed.text = std::move(fields->text);
  request.parsed.job = std::move(fields->job);
  request.parsed.stream = fields->stream;
  return request;
}

}  // namespace mlxd::api::responses
