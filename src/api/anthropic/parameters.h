// The parameters of /v1/messages and its count_tokens, each in one row. parse_request walks a body
// along this table; a key without a row is accepted too, and told in the header x-mlxd-ignored.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include <boost/json/value.hpp>

#include "api/anthropic/request.h"
#include "api/parameter_rules.h"
#include "base/error.h"

namespace mlxd::api::anthropic {

struct Parameter {
  std::string_view name;
  // None: accepted for the clients that send it, who are told that it was ignored, as it asks for
  // something that this server does not have.
  std::optional<ParameterRules<RequestFields>::Rule> rule;

  // Checks `value` (not null) and puts it into the fields.
  Result<void> read(const boost::json::value& value, RequestFields& fields) const;
};

std::span<const Parameter> parameters();

// The row of that name; null when there is none.
const Parameter* find_parameter(std::string_view name);

}  // namespace mlxd::api::anthropic
