#include "api/anthropic/parse_request.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/anthropic/parameters.h"
#include "api/errors.h"
#include "api/generation/model_directory.h"
#include "api/json_reader.h"
#include "api/request_parts.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;

Result<RequestFields> read_fields(const json::object& body) {
  RequestFields fields;
  for (const auto& member : body) {
    if (member.value().is_null()) continue;  // null counts as absent
    const std::string_view name(member.key().data(), member.key().size());
    const Parameter* row = find_parameter(name);
    if (row == nullptr) {
      fields.ignored.emplace_back(name);
    } else if (auto read = row->read(member.value(), fields); !read) {
      return read.error();
    }
  }
  return fields;
}

Error missing(std::string_view name, std::string_view what_to_send) {
  Error error =
      bad_value(std::string(name), fmt::format("'{}' is missing; send {}.", name, what_to_send));
  error.code = "missing_required_parameter";
  return error;
}

Result<void> check(const RequestFields& fields, const json::object& body) {
  if (fields.model.empty()) return missing("model", "a model id (GET /v1/models lists them)");
  if (!body.contains("messages") || fields.messages.empty()) {
    return missing("messages", "an array of messages");
  }
  const ToolChoice& choice = fields.tool_choice;
  if (choice.must && fields.tools.empty()) {
    return bad_value("tool_choice",
                     "'tool_choice' asks for a call, and there are no tools that this server can "
                     "give to the model; send 'tools' with an input_schema.");
  }
  if (!choice.name.empty() &&
      std::ranges::find(fields.tool_names, choice.name) == fields.tool_names.end()) {
    return bad_value("tool_choice.name",
                     fmt::format("'tool_choice.name' is '{:.100}', and no tool of 'tools' with an "
                                 "input_schema is called so.",
                                 choice.name));
  }
  return {};
}

CallRule call_rule(const ToolChoice& choice) {
  CallRule rule;
  rule.must = choice.must;
  if (!choice.name.empty()) rule.only = {choice.name};
  rule.at_most_one = choice.at_most_one || !choice.name.empty();
  rule.param = "tool_choice";
  return rule;
}

// An effort says how much to think, not whether to.
json::object template_arguments(const RequestFields& fields) {
  if (!fields.thinks && !fields.effort.empty()) return {{"reasoning_effort", fields.effort}};
  return thinking_arguments(fields.effort, fields.thinks);
}

// The messages as JSON; what is to be kept of them goes into `keep`.
std::string joined(const json::array& messages, std::size_t before,
                   const std::vector<Breakpoint>& breakpoints, std::vector<KeepRule>& keep) {
  std::string text = "[";
  std::vector<std::size_t> ends = {text.size()};
  for (const json::value& message : messages) {
    if (ends.size() > 1) text += ',';
    text += json::serialize(message);
    ends.push_back(text.size());
  }
  for (const Breakpoint& mark : breakpoints) {
    const bool all = mark.turns >= messages.size() - before;
    keep.push_back({all ? KeepRule::kAll : ends[before + mark.turns], mark.time});
  }
  return text + ']';
}

// An answer that the client began goes on from there.
ChatPrompt prompt_of(RequestFields& fields) {
  ChatPrompt chat;
  json::array messages;
  if (!fields.system.empty()) {
    const bool one = fields.system.size() == 1;
    json::value content = one ? fields.system[0].at("text") : json::value(std::move(fields.system));
    messages.push_back({{"role", "system"}, {"content", std::move(content)}});
  }
  const std::size_t before = messages.size();
  for (json::value& message : fields.messages) messages.push_back(std::move(message));
  chat.messages_json = joined(messages, before, fields.breakpoints, fields.text.keep);
  if (!fields.tool_choice.none) fields.tools.put_into(chat);  // else the model is not told of any
  const json::object arguments = template_arguments(fields);
  if (!arguments.empty()) chat.template_arguments_json = json::serialize(arguments);
  chat.continue_final_message = fields.continues;
  chat.add_generation_prompt = !fields.continues;
  return chat;
}

struct ReadBody {
  RequestFields fields;
  bool has_max_tokens;
};

Result<ReadBody> read_body(std::string_view body) {
  const auto value = read_json(body);
  if (!value) return value.error();
  if (!value->is_object()) {
    Error error = bad_value("", "The body must be a JSON object.");
    error.code = "invalid_json";
    return error;
  }
  const json::object& object = value->get_object();
  auto fields = read_fields(object);
  if (!fields) return fields.error();
  if (auto checked = check(*fields, object); !checked) return checked.error();
  return ReadBody{*std::move(fields), fields->job.max_tokens >= 0};
}

ParsedRequest request_of(RequestFields& fields, LeasedModel model) {
  ParsedRequest request;
  request.prompts.emplace_back(prompt_of(fields));
  request.model = std::move(model);
  request.text = std::move(fields.text);
  request.text.calls = call_rule(fields.tool_choice);
  request.text.cut_to_fit = true;  // clients send one number for all models
  request.job = std::move(fields.job);
  request.stream = fields.stream;
  return request;
}

}  // namespace

Result<MessagesRequest> parse_messages(std::string_view body, double timeout_seconds,
                                       const ModelDirectory& models) {
  auto read = read_body(body);
  if (!read) return read.error();
  if (!read->has_max_tokens) return missing("max_tokens", "how many tokens the answer may have");
  RequestFields& fields = read->fields;
  auto model = models.find(fields.model);
  if (!model) return model.error();
  SamplingParams& sampling = fields.job.sampling;
  // The API lets clients say 0 for "the likeliest token alone".
  sampling.top_p = std::max(sampling.top_p, std::numeric_limits<float>::min());
  if (!fields.seed) {
    sampling.seed = random_seed();
    fields.seed = std::to_string(sampling.seed);
  }
  fields.job.deadline = deadline_after(timeout_seconds);
  MessagesRequest parsed;
  parsed.wire = {(*model)->id, !fields.breakpoints.empty(), fields.omit_thinking};
  parsed.seed = *std::move(fields.seed);
  parsed.ignored = std::move(fields.ignored);
  parsed.request = request_of(fields, *std::move(model));
  return parsed;
}

Result<ParsedRequest> parse_count_tokens(std::string_view body, const ModelDirectory& models) {
  auto read = read_body(body);
  if (!read) return read.error();
  auto model = models.find(read->fields.model);
  if (!model) return model.error();
  return request_of(read->fields, *std::move(model));
}

}  // namespace mlxd::api::anthropic
