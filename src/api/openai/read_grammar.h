// Readers of what an answer is to be held to, in the words of OpenAI (response_format), vLLM
// (structured_outputs, guided_*) and llama-server (grammar, json_schema). A request has one of
// them.
#pragma once

#include <boost/json/fwd.hpp>

#include "api/openai/parameters.h"
#include "base/error.h"

namespace mlxd::api {

Result<void> read_response_format(const boost::json::value& value, RequestFields& fields);
Result<void> read_structured_outputs(const boost::json::value& value, RequestFields& fields);
Result<void> read_json_schema(const boost::json::value& value, RequestFields& fields);
Result<void> read_guided_json(const boost::json::value& value, RequestFields& fields);
Result<void> read_guided_regex(const boost::json::value& value, RequestFields& fields);
Result<void> read_guided_choice(const boost::json::value& value, RequestFields& fields);
Result<void> read_guided_grammar(const boost::json::value& value, RequestFields& fields);
Result<void> read_grammar(const boost::json::value& value, RequestFields& fields);

}  // namespace mlxd::api
