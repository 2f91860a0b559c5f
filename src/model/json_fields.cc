#include "model/json_fields.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

// A value as an error shows it; containers by their kind alone, which keeps messages short.
std::string describe(const boost::json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (const auto* text = value.if_string()) return in_quotes({text->data(), text->size()});
  return boost::json::serialize(value);
}

// Python's writer puts Infinity, which JSON does not have, where there is no bound: as null.
std::string with_null_for_infinity(std::string_view text) {
  constexpr std::string_view kInfinity = "Infinity", kNull = "null    ";
  std::string out(text);
  bool quoted = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (quoted && out[i] == '\\') {
      ++i;
    } else if (out[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text.substr(i).starts_with(kInfinity)) {
      out.replace(i, kInfinity.size(), kNull);
    }
  }
  return out;
}

}  // namespace

JsonFields::JsonFields(std::string file, std::string path,
                       std::shared_ptr<const boost::json::value> root,
                       const boost::json::object* object)
    : file_(std::move(file)), path_(std::move(path)), root_(std::move(root)), object_(object) {}

JsonFields JsonFields::open(const std::filesystem::path& path) {
  const auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

JsonFields JsonFields::parse(std::string_view text, std::string file) {
  boost::json::parse_options options;
  options.max_depth = 32;
  boost::json::error_code error;
  auto value = boost::json::parse({text.data(), text.size()}, error, {}, options);
  if (error) value = boost::json::parse(with_null_for_infinity(text), error, {}, options);
  auto root = std::make_shared<const boost::json::value>(std::move(value));
  if (error) throw LoadError(fmt::format("{}: is not valid JSON: {}", file, error.message()));
  const boost::json::object* object = root->if_object();
  if (object == nullptr) throw LoadError(fmt::format("{}: is not a JSON object", file));
  return {std::move(file), "", std::move(root), object};
}

JsonFields JsonFields::open_list(const std::filesystem::path& path, std::string_view field) {
  const auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  JsonFields fields = parse(fmt::format("{{\"{}\":{}}}", field, text), path.string());
  if (fields.array(field) == nullptr) fields.fail(field, "is missing");
  return fields;
}

void JsonFields::fail(std::string_view field, std::string_view problem) const {
  throw LoadError(
      fmt::format("{}: {} {}", file_, in_quotes(fmt::format("{}{}", path_, field)), problem));
}

void JsonFields::fail_type(std::string_view field, const boost::json::value& value,
                           std::string_view expected) const {
  fail(field, fmt::format("is {}, not {}", describe(value), expected));
}

const boost::json::value* JsonFields::find(std::string_view field) const {
  const boost::json::value* value = object_->if_contains({field.data(), field.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::int64_t> JsonFields::integer(std::string_view field, std::int64_t low,
                                                std::int64_t high) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return std::nullopt;
  std::optional<std::int64_t> number;
  if (const auto* whole = value->if_int64()) number = *whole;
  if (const auto* real = value->if_double()) {  // some writers put 8192.0
    if (std::abs(*real) < 0x1p53 && *real == std::floor(*real)) {
      number = static_cast<std::int64_t>(*real);
    }
  }
  if (number && *number >= low && *number <= high) return number;
  fail_type(field, *value, fmt::format("an integer from {} to {}", low, high));
}

int JsonFields::count(std::string_view field, std::int64_t high, int otherwise) const {
  if (const auto stated = integer(field, 1, high)) return static_cast<int>(*stated);
  if (otherwise == 0) fail(field, "is missing");
  return otherwise;
}

std::optional<double> JsonFields::number(std::string_view field, double low, double high) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return std::nullopt;
  double number = NAN;
  if (const auto* whole = value->if_int64()) number = static_cast<double>(*whole);
  if (const auto* real = value->if_double()) number = *real;
  if (number >= low && number <= high) return number;
  fail_type(field, *value, fmt::format("a number from {} to {}", low, high));
}

std::optional<bool> JsonFields::boolean(std::string_view field) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = value->if_bool()) return *flag;
  fail_type(field, *value, "true or false");
}

std::optional<std::string> JsonFields::string(std::string_view field) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = value->if_string()) return std::string(text->data(), text->size());
  fail_type(field, *value, "a string");
}

std::optional<JsonFields> JsonFields::object(std::string_view field) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return std::nullopt;
  return nested(field, *value);
}

void JsonFields::require_one_of(std::string_view field,
                                std::span<const std::string_view> known) const {
  const auto text = string(field);
  if (text && std::ranges::count(known, *text) == 0) {
    fail(field,
         fmt::format("is {}; mlxd computes {} here", in_quotes(*text), fmt::join(known, " or ")));
  }
}

JsonFields JsonFields::nested(std::string_view field, const boost::json::value& element) const {
  const boost::json::object* object = element.if_object();
  if (object == nullptr) fail_type(field, element, "an object");
  return {file_, fmt::format("{}{}.", path_, field), root_, object};
}

const boost::json::array* JsonFields::array(std::string_view field) const {
  const boost::json::value* value = find(field);
  if (value == nullptr) return nullptr;
  if (const auto* list = value->if_array()) return list;
  fail_type(field, *value, "a list");
}

}  // namespace mlxd
