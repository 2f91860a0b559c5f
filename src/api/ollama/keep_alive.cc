#include "api/ollama/keep_alive.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;
using Unit = std::pair<std::string_view, double>;

// Parts without a sum, as in "1h30m".
std::optional<double> read_duration(std::string_view text) {
  constexpr std::array<Unit, 8> kUnits = {{{"ns", 1e-9},
                                           {"us", 1e-6},
                                           {"\u00b5s", 1e-6},
                                           {"\u03bcs", 1e-6},
                                           {"ms", 1e-3},
                                           {"s", 1},
                                           {"m", 60},
                                           {"h", 3600}}};
  const double sign = text.starts_with('-') ? -1 : 1;
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  while (!text.empty()) {
    const auto digits = text.substr(0, text.find_first_not_of("0123456789."));
    double number = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number,
                                      std::chars_format::fixed);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
    text.remove_prefix(digits.size());
    const auto name = text.substr(0, text.find_first_of("0123456789."));
    const auto* const unit = std::ranges::find(kUnits, name, &Unit::first);
    if (unit == kUnits.end()) return std::nullopt;
    text.remove_prefix(name.size());
    seconds += number * unit->second;
  }
  return sign * seconds;
}

}  // namespace

Result<double> read_keep_alive(const json::value& value) {
  if (value.is_number()) return value.to_number<double>();
  const auto seconds =
      value.is_string() ? read_duration(std::string_view(value.get_string())) : std::nullopt;
  if (seconds) return *seconds;
  return bad_value("keep_alive",
                   "'keep_alive' must be seconds, or a duration such as \"5m\" or \"1h30m\".");
}

}  // namespace mlxd::api::ollama
