#include "model/weights/json_duplicates.h"

#include <set>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>

namespace mlxd {
namespace {

// The events of Boost.JSON's parser; a set of keys for every object that is open.
class KeyHandler {
 public:
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  using Code = boost::json::error_code;
  using Text = boost::json::string_view;

  bool on_object_begin(Code&) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, Code&) {
    open_.pop_back();
    return true;
  }
  bool on_key_part(Text part, std::size_t, Code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(Text part, std::size_t, Code& error) {
    key_.append(part.data(), part.size());
    if (!open_.back().insert(key_).second) {
      duplicate_ = key_;
      error = boost::json::error::extra_data;  // any error ends the parse
      return false;
    }
    key_.clear();
    return true;
  }
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_string_part(Text, std::size_t, Code&) { return true; }
  bool on_string(Text, std::size_t, Code&) { return true; }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t, Text, Code&) { return true; }
  bool on_uint64(std::uint64_t, Text, Code&) { return true; }
  bool on_double(double, Text, Code&) { return true; }
  bool on_bool(bool, Code&) { return true; }
  bool on_null(Code&) { return true; }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

  const std::optional<std::string>& duplicate() const { return duplicate_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::string key_;
  std::optional<std::string> duplicate_;
};

}  // namespace

std::optional<std::string> find_duplicate_key(std::string_view json) {
  boost::json::parse_options options;
  options.max_depth = 32;
  boost::json::basic_parser<KeyHandler> parser(options);
  boost::json::error_code error;
  parser.write_some(false, json.data(), json.size(), error);
  return parser.handler().duplicate();
}

}  // namespace mlxd
