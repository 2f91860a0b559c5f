// What readers of any dialect need of a JSON value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "base/error.h"

namespace mlxd::api {

std::string_view view(const boost::json::string& text);

// "a string", "an array" ...: what a client sent, for messages.
std::string_view kind_name(const boost::json::value& value);
Error wrong_type(std::string_view param, std::string_view wanted, const boost::json::value& got);

// An integer that JSON may also have written as 16.0; nullopt for anything else or beyond 64 bits.
std::optional<std::int64_t> as_integer(const boost::json::value& value);

// Any integer of 64 bits, signed or not, and as it was said, in decimal. `param` is where.
struct Seed {
  std::uint64_t number = 0;
  std::string said;
};
Result<Seed> as_seed(std::string_view param, const boost::json::value& value);

}  // namespace mlxd::api
