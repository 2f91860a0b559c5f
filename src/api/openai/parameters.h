// The request parameters of both generation endpoints, each in one row: name, where it applies,
// what it accepts, its default, and how it is read into the RequestFields. parse_request walks a
// body along this table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "api/openai/request.h"
#include "api/parameter_rules.h"
#include "api/request_parts.h"
#include "base/error.h"

namespace mlxd::api {

// What `tool_choice` says.
struct ToolChoice {
  bool none = false;
  bool must = false;
  std::vector<std::string> functions;          // the one, or those that are allowed; else empty
  std::string_view parameter = "tool_choice";  // as the client named it
};

// A request while it is read: every parameter where it stays, or by itself where it means something
// only together with others (parse_request). -1 stands for "absent" where a parameter has no
// default of its own.
struct RequestFields : UnknownKeys {
  std::string model;
  std::vector<Prompt> prompts;
  TextOptions text;
  GenerateJob job = job_without_limit();
  std::optional<std::string> seed;  // as it was sent; the job has the number
  std::optional<double> timeout_seconds;
  ChatPrompt chat;  // the parts of a chat's prompt beside its messages
  ToolChoice tool_choice;
  bool parallel_calls = true;
  bool legacy_functions = false;           // `functions` instead of `tools`
  boost::json::object template_arguments;  // `chat_template_kwargs`
  std::string reasoning_effort;            // "": not sent
  std::optional<bool> enable_thinking;
  int max_completion_tokens = kAsManyAsFit;
  int completion_logprobs = -1;
  int n = 1;
  int best_of = -1;
  bool token_ids = false;
  bool stream = false;
  bool has_stream_options = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool return_progress = false;
};

struct Parameter {
  using Rules = ParameterRules<RequestFields>;
  template <class T>
  using Field = Rules::Field<T>;
  using Number = Rules::Number;
  using Integer = Rules::Integer;
  using Flag = Rules::Flag;
  using Custom = Rules::Custom;
  using NoBehaviour = api::NoBehaviour;
  using Unsupported = api::Unsupported;
  using Rule = Rules::Rule;

  std::string_view name;
  bool chat;
  bool completions;
  Rule rule;
  std::string_view accepts = {};        // in words, where the rule does not say it
  std::string_view default_value = {};  // in words; "" when absence means absence

  bool applies_to(Endpoint endpoint) const {
    return endpoint == Endpoint::chat ? chat : completions;
  }
  // What a client may send, in words: "a number from 0 to 2".
  std::string describe() const;
  // Checks `value` (not null) and puts it into the fields.
  Result<void> read(const boost::json::value& value, RequestFields& fields) const;
};

std::span<const Parameter> parameters();

// The row of that name for that endpoint; null when there is none.
const Parameter* find_parameter(std::string_view name, Endpoint endpoint);

}  // namespace mlxd::api
