// Readers of the parameters that are more than a number or a flag.
#pragma once

#include <boost/json/fwd.hpp>

#include "api/ollama/request.h"
#include "base/error.h"

namespace mlxd::api::ollama {

Result<void> read_model(const boost::json::value& value, Fields& fields);
Result<void> read_messages(const boost::json::value& value, Fields& fields);
Result<void> read_tools(const boost::json::value& value, Fields& fields);
Result<void> read_prompt(const boost::json::value& value, Fields& fields);
Result<void> read_system(const boost::json::value& value, Fields& fields);
Result<void> read_format(const boost::json::value& value, Fields& fields);
Result<void> read_think(const boost::json::value& value, Fields& fields);
Result<void> read_keep_alive(const boost::json::value& value, Fields& fields);
Result<void> read_num_predict(const boost::json::value& value, Fields& fields);
Result<void> read_top_k(const boost::json::value& value, Fields& fields);
Result<void> read_seed(const boost::json::value& value, Fields& fields);
Result<void> read_stop(const boost::json::value& value, Fields& fields);

}  // namespace mlxd::api::ollama
