// Readers of the parameters that are more than a number or a flag. Each checks one JSON value and
// puts it into the fields, or gives the error that names the parameter, with its place inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "api/responses/fields.h"
#include "base/error.h"

namespace mlxd::api::responses {

inline constexpr std::size_t kMaxItems = 4096;  // of a conversation, those of the store included

// read_options.cc
Result<void> read_text_format(const boost::json::value& value, Fields& fields);
Result<void> read_reasoning(const boost::json::value& value, Fields& fields);
Result<void> read_include(const boost::json::value& value, Fields& fields);

// read_tools.cc. `param` is where the list stands: "tools".
Result<void> read_tools(const boost::json::value& value, const std::string& param, Fields& fields);
// When all tools are known.
Result<void> read_tool_choice(const boost::json::value& value, Fields& fields);
// The name by which the model sees a function of a namespace ("": none).
std::string joined_name(std::string_view name_space, std::string_view name);

// read_input.cc. Makes the prompt of `instructions` and of the items of `earlier` and of
// `fields.input`; `earlier` grows by what the input adds. Tools that items declare come to
// `fields.tools`.
Result<std::string> read_conversation(Fields& fields, ResponseStore& store, std::uint64_t caller,
                                      ResponseStore::Items& earlier);

}  // namespace mlxd::api::responses
