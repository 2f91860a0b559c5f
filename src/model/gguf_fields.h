#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "model/quoted.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The metadata under "<architecture>.<field>" of one file, which must outlive this, as
// `architecture` must. Throws LoadError that names the key: of a field that is missing, but where
// it is optional or has a value otherwise, and as GgufFile does.
class GgufFields {
 public:
  GgufFields(const GgufFile& file, std::string_view architecture)
      : file_(file), architecture_(architecture) {}

  // From 1.
  int integer(std::string_view field, std::int64_t high) const {
    const auto value = optional_integer(field, 1, high);
    if (!value) file_.fail(in_quotes(key(field)), "is missing");
    return *value;
  }
  std::optional<int> optional_integer(std::string_view field, std::int64_t low,
                                      std::int64_t high) const {
    const auto value = file_.integer(key(field), low, high);
    if (!value) return std::nullopt;
    return static_cast<int>(*value);
  }
  // One for each layer: an array, or a number that holds for all; none where it is missing.
  std::optional<std::vector<int>> of_layers(std::string_view field, std::int64_t low,
                                            std::int64_t high, int layers) const {
    const std::string name = key(field);
    if (!file_.is_array(name)) {
      const auto one = optional_integer(field, low, high);
      if (!one) return std::nullopt;
      return std::vector<int>(static_cast<std::size_t>(layers), *one);
    }
    const auto each = *file_.integers(name, low, high);
    if (each.size() != static_cast<std::size_t>(layers)) {
      file_.fail(in_quotes(name), fmt::format("has {} entries for {} layers", each.size(), layers));
    }
    return std::vector<int>(each.begin(), each.end());
  }
  float number(std::string_view field, double low, double high) const {
    const auto value = file_.number(key(field), low, high);
    if (!value) file_.fail(in_quotes(key(field)), "is missing");
    return static_cast<float>(*value);
  }
  float number(std::string_view field, double low, double high, float otherwise) const {
    const auto value = file_.number(key(field), low, high);
    return value ? static_cast<float>(*value) : otherwise;
  }
  std::string key(std::string_view field) const {
    return fmt::format("{}.{}", architecture_, field);
  }

 private:
  const GgufFile& file_;
  std::string_view architecture_;
};

}  // namespace mlxd
