#include "api/json_values.h"

#include <cmath>
#include <string>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

constexpr double kExactDoubles = 9007199254740992.0;  // 2^53: beyond, doubles skip integers

}  // namespace

std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      break;
  }
  return "an object";
}

Error wrong_type(std::string_view param, std::string_view wanted, const json::value& got) {
  Error error = bad_value(std::string(param),
                          fmt::format("'{}' is {}; send {}.", param, kind_name(got), wanted));
  error.code = "invalid_type";
  return error;
}

std::optional<std::int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) {
    const double number = value.get_double();
    if (std::abs(number) <= kExactDoubles && std::trunc(number) == number) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

}  // namespace mlxd::api
