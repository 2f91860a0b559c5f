#include "api/json_reader.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_stack.hpp>
#include <fmt/format.h>

#include "api/errors.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using boost::system::error_code;

// Keys that are plain numbers of at most so many digits, and how many there are of them.
constexpr std::size_t kTokenIdDigits = 6;
constexpr std::uint64_t kTokenIds = 1'111'111;

// The keys of the objects that are open, to find one that is there twice. They are sorted, not
// hashed: a client who knows the hash function can choose keys that collide.
class OpenKeys {
 public:
  void begin_object() { firsts_.push_back(keys_.size()); }
  void append(json::string_view part) { text_.append(part.data(), part.size()); }
  void end_key() {
    keys_.push_back({begin_, text_.size() - begin_});
    begin_ = text_.size();
  }
  // Of the innermost object's keys.
  std::size_t token_ids() const {
    return static_cast<std::size_t>(
        std::count_if(keys_.begin() + static_cast<std::ptrdiff_t>(firsts_.back()), keys_.end(),
                      [this](Key key) { return is_token_id(text_of(key)); }));
  }
  // The keys of the innermost object are forgotten; the first of those that it had twice.
  std::optional<std::string> end_object() {
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(firsts_.back());
    std::sort(first, keys_.end(), [this](Key a, Key b) { return text_of(a) < text_of(b); });
    const auto twice = std::adjacent_find(
        first, keys_.end(), [this](Key a, Key b) { return text_of(a) == text_of(b); });
    if (twice != keys_.end()) return std::string(text_of(*twice));
    // All texts of this object lie behind those of the objects around it.
    for (auto key = first; key != keys_.end(); ++key) begin_ = std::min(begin_, key->begin);
    text_.resize(begin_);
    keys_.erase(first, keys_.end());
    firsts_.pop_back();
    return std::nullopt;
  }

 private:
  struct Key {
    std::size_t begin, size;
  };
  static bool is_token_id(std::string_view key) {
    return key.size() <= kTokenIdDigits &&
           std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  std::string_view text_of(Key key) const {
    return std::string_view(text_).substr(key.begin, key.size);
  }

  std::string text_;                 // of the keys, one behind the other
  std::size_t begin_ = 0;            // of the key that is being read
  std::vector<Key> keys_;            // of all open objects, the innermost one's last
  std::vector<std::size_t> firsts_;  // of each open object, in `keys_`
};

// Receives Boost.JSON's parse events and builds the value, as json::parser does, but looks at each
// object's keys.
class ValueBuilder {
 public:
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();

  json::value release() { return stack_.release(); }
  const std::optional<std::string>& duplicate_key() const { return duplicate_key_; }
  bool has_too_many_keys() const { return table_work_ > kMostTableWork; }

  bool on_document_begin(error_code&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    keys_.begin_object();
    return true;
  }
  bool on_object_end(std::size_t members, error_code& code) {
    if (members > kMembersWithoutTable) table_work_ += most_table_work(members, keys_.token_ids());
    duplicate_key_ = keys_.end_object();
    if (duplicate_key_ || has_too_many_keys()) {
      code = make_error_code(boost::system::errc::invalid_argument);
      return false;
    }
    stack_.push_object(members);
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t elements, error_code&) {
    stack_.push_array(elements);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, error_code&) {
    keys_.append(part);
    stack_.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, error_code&) {
    keys_.append(part);
    keys_.end_key();
    stack_.push_key(part);
    return true;
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
  // json::object has a hash table where it has more members than this. Its function is FNV-1a, and
  // its salt the table's address: a client can choose keys that all collide, which cost the square
  // of their number. So the squares are bounded, at some tenths of a second, which one object of
  // kJsonKeys reaches, or many thousand usual ones.
  //
  // Token ids, of which a logit_bias may name a whole vocabulary, are too few to choose among: the
  // function spreads them evenly, so that the fullest places of a table for n keys have about
  // kTokenIds / n of them each (tests/api/json_keys_test.cc counts them).
  static constexpr std::size_t kMembersWithoutTable = 18;
  static constexpr std::uint64_t kMostTableWork = std::uint64_t{kJsonKeys} * kJsonKeys;

  static std::uint64_t most_table_work(std::uint64_t members, std::uint64_t token_ids) {
    const std::uint64_t others = members - token_ids;
    return others * others + std::min(token_ids * token_ids, kTokenIds);
  }

  json::value_stack stack_;
  OpenKeys keys_;
  std::uint64_t table_work_ = 0;
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
  if (parser.handler().has_too_many_keys()) {
    return bad_json(fmt::format(
        "The body's JSON has objects of too many keys; send no more than {} in one, token ids not "
        "counted.",
        kJsonKeys));
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

Result<json::object> read_json_object(std::string_view body) {
  auto value = read_json(body);
  if (!value) return value.error();
  if (!value->is_object()) {
    Error error = bad_value("", "The body must be a JSON object.");
    error.code = "invalid_json";
    return error;
  }
  return std::move(value->get_object());
}

}  // namespace mlxd::api
