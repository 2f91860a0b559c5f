#pragma once

#include <cstddef>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/error.h"

namespace mlxd::api {

inline constexpr std::size_t kJsonDepth = 64;
inline constexpr std::size_t kJsonKeys = 8192;

// A client's body as JSON, strictly: RFC 8259, valid UTF-8, at most kJsonDepth levels and kJsonKeys
// keys of an object (token ids not counted), no key twice in one object (two readers could disagree
// on which counts). Integers of 64 bits stay exact. Takes a time that is near linear in the body's
// size, whatever the keys are. Errors are 400 with the place of the mistake.
Result<boost::json::value> read_json(std::string_view body);

// The same of a body that must be an object.
Result<boost::json::object> read_json_object(std::string_view body);

}  // namespace mlxd::api
