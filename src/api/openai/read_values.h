// Readers of the parameters that are more than a number or a flag. Each checks one JSON value and
// puts it into the fields, or gives the error that names the parameter (with its place inside:
// "messages[2].content").
#pragma once

#include <cstddef>
#include <string>

#include <boost/json/fwd.hpp>

#include "api/json_values.h"
#include "api/openai/parameters.h"
#include "base/error.h"

namespace mlxd::api {

inline constexpr int kMaxMessages = 1024;
inline constexpr int kMaxPrompts = 128;

Result<void> read_model(const boost::json::value& value, RequestFields& fields);
Result<void> read_messages(const boost::json::value& value, RequestFields& fields);
Result<void> read_tools(const boost::json::value& value, RequestFields& fields);
Result<void> read_functions(const boost::json::value& value, RequestFields& fields);
Result<void> read_tool_choice(const boost::json::value& value, RequestFields& fields);
Result<void> read_function_call(const boost::json::value& value, RequestFields& fields);
Result<void> read_documents(const boost::json::value& value, RequestFields& fields);
Result<void> read_template_arguments(const boost::json::value& value, RequestFields& fields);
Result<void> read_reasoning_effort(const boost::json::value& value, RequestFields& fields);
Result<void> read_enable_thinking(const boost::json::value& value, RequestFields& fields);
Result<void> read_reasoning(const boost::json::value& value, RequestFields& fields);
// How many tokens of reasoning there may be, as `name` says; -1: any number.
Result<void> read_reasoning_budget(const std::string& name, const boost::json::value& value,
                                   RequestFields& fields);
Result<void> read_prompt(const boost::json::value& value, RequestFields& fields);
Result<void> read_seed(const boost::json::value& value, RequestFields& fields);
Result<void> read_stop(const boost::json::value& value, RequestFields& fields);
Result<void> read_logit_bias(const boost::json::value& value, RequestFields& fields);
Result<void> read_stream_options(const boost::json::value& value, RequestFields& fields);
Result<void> read_cache_key(const boost::json::value& value, RequestFields& fields);
Result<void> read_timeout(const boost::json::value& value, RequestFields& fields);

// When all of a chat is read: what its parameters mean together goes into its prompt.
Result<void> settle_chat(RequestFields& fields);

}  // namespace mlxd::api
