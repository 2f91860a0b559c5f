#include "api/json_reader.h"

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_stack.hpp>
#include <fmt/format.h>

namespace mlxd::api {
namespace {

namespace json = boost::json;
using boost::system::error_code;

// Receives Boost.JSON's parse events and builds the value, as json::parser does, but remembers each
// open object's keys.
class ValueBuilder {
 public:
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();

  json::value release() { return stack_.release(); }
  const std::optional<std::string>& duplicate_key() const { return duplicate_key_; }

  bool on_document_begin(error_code&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    keys_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t members, error_code&) {
    keys_.pop_back();
    stack_.push_object(members);
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t elements, error_code&) {
    stack_.push_array(elements);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, error_code&) {
    key_.append(part.data(), part.size());
    stack_.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, error_code& code) {
    key_.append(part.data(), part.size());
    stack_.push_key(part);
    const auto [place, is_new] = keys_.back().insert(std::exchange(key_, {}));
    if (is_new) return true;
    duplicate_key_ = *place;
    code = make_error_code(boost::system::errc::invalid_argument);
    return false;
  }
  bool on_string_part(json::string_view part, std::size_t, error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(json::string_view part, std::size_t, error_code&) {
    stack_.push_string(part);
    return true;
  }
  bool on_number_part(json::string_view, error_code&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, error_code&) {
    stack_.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, json::string_view, error_code&) {
    stack_.push_uint64(number);
    return true;
  }
  bool on_double(double number, json::string_view, error_code&) {
    stack_.push_double(number);
    return true;
  }
  bool on_bool(bool value, error_code&) {
    stack_.push_bool(value);
    return true;
  }
  bool on_null(error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

 private:
  json::value_stack stack_;
  std::vector<std::unordered_set<std::string>> keys_;  // of each open object
  std::string key_;                                    // the parts so far
  std::optional<std::string> duplicate_key_;
};

Error bad_json(std::string message) {
  Error error;
  error.status = 400;
  error.code = "invalid_json";
  error.message = std::move(message);
  return error;
}

}  // namespace

Result<json::value> read_json(std::string_view body) {
  json::parse_options options;
  options.max_depth = kJsonDepth;
  json::basic_parser<ValueBuilder> parser(options);
  error_code code;
  const auto read = parser.write_some(false, body.data(), body.size(), code);
  if (const auto& key = parser.handler().duplicate_key()) {
    return bad_json(
        fmt::format("The body's JSON has the key '{:.100}' twice in one object; send "
                    "it once.",
                    *key));
  }
  if (code == json::error::too_deep) {
    return bad_json(fmt::format("The body's JSON is nested deeper than {} levels.", kJsonDepth));
  }
  if (code || read != body.size()) {
    return bad_json(
        fmt::format("The body is not valid JSON: {} at byte {}. Send one JSON object, "
                    "in UTF-8.",
                    code ? code.message() : "extra data", read));
  }
  return parser.handler().release();
}

}  // namespace mlxd::api
