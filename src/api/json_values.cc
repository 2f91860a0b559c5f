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

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

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

Result<Seed> as_seed(std::string_view param, const json::value& value) {
  if (value.is_uint64()) {  // above the signed range: Boost.JSON holds smaller ones as int64
    return Seed{value.get_uint64(), std::to_string(value.get_uint64())};
  }
  const auto seed = as_integer(value);
  if (!seed) return wrong_type(param, "a 64-bit integer", value);
  return Seed{static_cast<std::uint64_t>(*seed), std::to_string(*seed)};
}

}  // namespace mlxd::api
