#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

namespace mlxd {

// One object of an untrusted JSON file, read field by field with its type and range checked. A
// field that is null counts as absent. Copies share the parsed file.
//
// Every function throws LoadError that names the file, the field and its value.
class JsonFields {
 public:
  // The whole file, which must be one object, nested 32 deep at most.
  static JsonFields open(const std::filesystem::path& path);
  static JsonFields parse(std::string_view text, std::string file);
  // A file that is an array, as the only field of an object.
  static JsonFields open_list(const std::filesystem::path& path, std::string_view field);

  const std::string& file() const { return file_; }

  const boost::json::value* find(std::string_view field) const;  // null when absent
  bool has(std::string_view field) const { return find(field) != nullptr; }
  std::optional<std::int64_t> integer(std::string_view field, std::int64_t low,
                                      std::int64_t high) const;
  // From 1; where the field is absent `otherwise`, or with 0, that must not be.
  int count(std::string_view field, std::int64_t high, int otherwise = 0) const;
  std::optional<double> number(std::string_view field, double low, double high) const;
  std::optional<bool> boolean(std::string_view field) const;
  std::optional<std::string> string(std::string_view field) const;
  std::optional<JsonFields> object(std::string_view field) const;
  const boost::json::array* array(std::string_view field) const;  // null when absent

  // Throws unless the field is absent or one of these.
  void require_one_of(std::string_view field, std::span<const std::string_view> known) const;

  // `element` of the array or map `field` as fields of its own; throws unless it is an object.
  JsonFields nested(std::string_view field, const boost::json::value& element) const;
  const boost::json::object& members() const { return *object_; }

  [[noreturn]] void fail(std::string_view field, std::string_view problem) const;
  // "<field> is <value>, not <expected>"
  [[noreturn]] void fail_type(std::string_view field, const boost::json::value& value,
                              std::string_view expected) const;

 private:
  JsonFields(std::string file, std::string path, std::shared_ptr<const boost::json::value> root,
             const boost::json::object* object);

  std::string file_;
  std::string path_;  // of this object in the file: "", "text_config."
  std::shared_ptr<const boost::json::value> root_;
  const boost::json::object* object_;
};

}  // namespace mlxd
