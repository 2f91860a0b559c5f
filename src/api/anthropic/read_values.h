// Readers of the parameters that are more than a number or a flag. Each checks one JSON value and
// puts it into the fields, or gives the error that names the parameter as Anthropic's do
// ("messages.2.content.0").
#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "api/anthropic/request.h"
#include "base/error.h"

namespace mlxd::api::anthropic {

inline constexpr std::size_t kMaxMessages = 100000;  // as the API says

Result<void> read_system(const boost::json::value& value, RequestFields& fields);
Result<void> read_messages(const boost::json::value& value, RequestFields& fields);
Result<void> read_tools(const boost::json::value& value, RequestFields& fields);
Result<void> read_tool_choice(const boost::json::value& value, RequestFields& fields);
Result<void> read_thinking(const boost::json::value& value, RequestFields& fields);
Result<void> read_output_config(const boost::json::value& value, RequestFields& fields);
Result<void> read_output_format(const boost::json::value& value, RequestFields& fields);
Result<void> read_seed(const boost::json::value& value, RequestFields& fields);
Result<void> read_stop_sequences(const boost::json::value& value, RequestFields& fields);
// Of a block, which is before the messages unless its reader says otherwise; and of a whole
// request.
Result<void> read_cache_control(const boost::json::value& value, RequestFields& fields);
Result<void> read_whole_cache_control(const boost::json::value& value, RequestFields& fields);

// A string that must be there; `place` is the object's.
Result<std::string_view> text_member(const boost::json::object& in, std::string_view key,
                                     const std::string& place);

// The keys of an object that nothing reads: `cache_control` is noted, those of `known` (separated
// by spaces) stand somewhere else or carry no behaviour, and all others are told as ignored.
Result<void> note_other_keys(const boost::json::object& in, std::string_view known,
                             const std::string& place, RequestFields& fields);

}  // namespace mlxd::api::anthropic
