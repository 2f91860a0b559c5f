// Readers of the parameters that are more than a number or a flag. Each checks one JSON value and
// puts it into the fields, or gives the error that names the parameter (with its place inside:
// "messages[2].content").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "api/openai/parameters.h"
#include "base/error.h"

namespace mlxd::api {

inline constexpr int kMaxMessages = 1024;
inline constexpr int kMaxPrompts = 128;
inline constexpr int kMaxStops = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;  // each is kept, with tables, for every choice

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
Result<void> read_prompt(const boost::json::value& value, RequestFields& fields);
Result<void> read_seed(const boost::json::value& value, RequestFields& fields);
Result<void> read_stop(const boost::json::value& value, RequestFields& fields);
Result<void> read_logit_bias(const boost::json::value& value, RequestFields& fields);
Result<void> read_stream_options(const boost::json::value& value, RequestFields& fields);
Result<void> read_timeout(const boost::json::value& value, RequestFields& fields);

// When all of a chat is read: what its parameters mean together goes into its prompt.
Result<void> settle_chat(RequestFields& fields);

// "a string", "an array" ...: what a client sent, for messages.
std::string_view kind_name(const boost::json::value& value);
Error wrong_type(std::string_view param, std::string_view wanted, const boost::json::value& got);

// An integer that JSON may also have written as 16.0; nullopt for anything else or beyond 64 bits.
std::optional<std::int64_t> as_integer(const boost::json::value& value);

}  // namespace mlxd::api
