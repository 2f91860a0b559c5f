// The typed look-ups of GgufFile: the file says of each value what it is, the caller what it must
// be.
#include <cmath>
#include <type_traits>

#include <fmt/format.h>

#include "base/overloaded.h"
#include "model/quoted.h"
#include "model/weights/gguf.h"
#include "model/weights/gguf_types.h"

namespace mlxd {
namespace {

std::string describe(const GgufValue& value) {
  return std::visit(Overloaded{[](bool b) -> std::string { return b ? "true" : "false"; },
                               [](std::string_view text) { return in_quotes(text); },
                               [](const GgufArray& array) {
                                 return fmt::format("an array of {} {}", array.count,
                                                    gguf::value_type_name(array.element_type));
                               },
                               [](auto number) { return fmt::format("{}", number); }},
                    value);
}

// An integer as int64_t, if it is one and fits.
std::optional<std::int64_t> as_integer(const GgufValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    if (*number <= static_cast<std::uint64_t>(INT64_MAX)) return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<double> as_number(const GgufValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto integer = as_integer(value)) return static_cast<double>(*integer);
  return std::nullopt;
}

GgufValue element(const GgufArray& array, std::size_t index) {
  const std::byte* at = array.bytes.data() + index * gguf::value_size(array.element_type);
  return gguf::visit_number(array.element_type, at, [](auto n) { return GgufValue(n); });
}

}  // namespace

bool GgufFile::is_array(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found != metadata_.end() && std::holds_alternative<GgufArray>(found->second);
}

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(&found->second)) return *text;
  fail(in_quotes(key), fmt::format("is {}, not a string", describe(found->second)));
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  if (const auto* value = std::get_if<bool>(&found->second)) return *value;
  fail(in_quotes(key), fmt::format("is {}, not a bool", describe(found->second)));
}

std::optional<std::int64_t> GgufFile::integer(std::string_view key, std::int64_t low,
                                              std::int64_t high) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  const auto value = as_integer(found->second);
  if (value && *value >= low && *value <= high) return value;
  fail(in_quotes(key),
       fmt::format("is {}, not an integer from {} to {}", describe(found->second), low, high));
}

std::optional<double> GgufFile::number(std::string_view key, double low, double high) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  const auto value = as_number(found->second);
  if (value && *value >= low && *value <= high) return value;  // false for NaN
  fail(in_quotes(key),
       fmt::format("is {}, not a number from {} to {}", describe(found->second), low, high));
}

const GgufArray* GgufFile::array(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  if (const auto* value = std::get_if<GgufArray>(&found->second)) return value;
  fail(in_quotes(key), fmt::format("is {}, not an array", describe(found->second)));
}

std::optional<std::vector<std::string_view>> GgufFile::strings(std::string_view key) const {
  const GgufArray* found = array(key);
  if (found == nullptr) return std::nullopt;
  if (found->element_type != gguf::kString) {
    fail(in_quotes(key), fmt::format("is {}, not an array of strings", describe(*found)));
  }
  std::vector<std::string_view> values;
  values.reserve(static_cast<std::size_t>(found->count));
  const std::byte* at = found->bytes.data();  // the parser has walked these lengths
  for (std::uint64_t i = 0; i < found->count; ++i) {
    const auto length = static_cast<std::size_t>(gguf::load<std::uint64_t>(at));
    at += sizeof(std::uint64_t);
    values.emplace_back(reinterpret_cast<const char*>(at), length);
    at += length;
  }
  return values;
}

std::optional<std::vector<std::int64_t>> GgufFile::integers(std::string_view key, std::int64_t low,
                                                            std::int64_t high) const {
  const GgufArray* found = array(key);
  if (found == nullptr) return std::nullopt;
  std::vector<std::int64_t> values;
  if (found->element_type == gguf::kString) {
    fail(in_quotes(key), fmt::format("is {}, not an array of integers", describe(*found)));
  }
  values.reserve(static_cast<std::size_t>(found->count));
  for (std::size_t i = 0; i < found->count; ++i) {
    const GgufValue each = element(*found, i);
    const auto value = as_integer(each);
    if (!value || *value < low || *value > high) {
      fail(in_quotes(key), fmt::format("holds {} at index {}, not an integer from {} to {}",
                                       describe(each), i, low, high));
    }
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<bool>> GgufFile::booleans(std::string_view key) const {
  const GgufArray* found = array(key);
  if (found == nullptr) return std::nullopt;
  if (found->element_type != gguf::kBool) {
    fail(in_quotes(key), fmt::format("is {}, not an array of bools", describe(*found)));
  }
  std::vector<bool> values;
  values.reserve(static_cast<std::size_t>(found->count));
  for (std::size_t i = 0; i < found->count; ++i) {
    values.push_back(found->bytes[i] != std::byte{0});
  }
  return values;
}

std::optional<std::vector<float>> GgufFile::numbers(std::string_view key) const {
  const GgufArray* found = array(key);
  if (found == nullptr) return std::nullopt;
  if (found->element_type == gguf::kString || found->element_type == gguf::kBool) {
    fail(in_quotes(key), fmt::format("is {}, not an array of numbers", describe(*found)));
  }
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(found->count));
  for (std::size_t i = 0; i < found->count; ++i) {
    const GgufValue each = element(*found, i);
    const double value = as_number(each).value_or(NAN);
    if (!(std::abs(value) <= 3.4e38)) {
      fail(in_quotes(key),
           fmt::format("holds {} at index {}, not a finite number", describe(each), i));
    }
    values.push_back(static_cast<float>(value));
  }
  return values;
}

}  // namespace mlxd
