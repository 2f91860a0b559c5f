// The parameters of /v1/responses, each in one row: name, what it accepts, how it is read into the
// Fields, and whether the answer repeats it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/parameter_rules.h"
#include "api/responses/fields.h"

namespace mlxd::api::responses {

struct Parameter {
  using Rules = ParameterRules<Fields>;
  using Number = Rules::Number;
  using Integer = Rules::Integer;
  using Flag = Rules::Flag;
  using Custom = Rules::Custom;

  std::string_view name;
  Rules::Rule rule;
  std::string_view accepts = {};  // in words, where the rule does not say it
  // What the answer says of it where the request says nothing, in JSON; "": it is not repeated.
  std::string_view echo = {};

  // What a client may send, in words.
  std::string describe() const;
  // Checks `value` (not null) and puts it into the fields.
  Result<void> read(const boost::json::value& value, Fields& fields) const;
};

std::span<const Parameter> parameters();
const Parameter* find_parameter(std::string_view name);  // null: there is none

// The echoed parameters as members of an object, in JSON.
std::string echo_members(const Fields& fields);

}  // namespace mlxd::api::responses
