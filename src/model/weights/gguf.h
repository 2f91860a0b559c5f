#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "model/tensor.h"

namespace mlxd {

// A metadata array: its elements lie packed in the file. Strings are length-prefixed.
struct GgufArray {
  std::uint32_t element_type = 0;
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;  // of all elements
};

using GgufValue =
    std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

// The header of a GGUF file, version 2 or 3, little endian (ggml/docs/gguf.md): metadata and tensor
// descriptions, everything checked against the file before it is used. Immutable; any thread may
// read. Strings and tensors are views into the file's bytes.
//
// Every function throws LoadError with one sentence that names the file, the field and the value.
class GgufFile {
 public:
  static std::shared_ptr<const GgufFile> open(const std::filesystem::path& path);
  // Of bytes in memory, which must outlive the result; `name` is what errors call them.
  static std::shared_ptr<const GgufFile> parse(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  // The part of the file before the tensor data.
  std::span<const std::byte> header() const { return header_; }
  // In the order of the file, under GGUF names ("blk.0.attn_q.weight").
  const std::vector<Tensor>& tensors() const { return tensors_; }

  // Metadata by key; nothing when the key is absent. Throws when the value is of another type or
  // outside [low, high].
  bool has(std::string_view key) const { return metadata_.contains(key); }
  bool is_array(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t low,
                                      std::int64_t high) const;
  std::optional<double> number(std::string_view key, double low, double high) const;
  std::optional<std::vector<std::string_view>> strings(std::string_view key) const;
  std::optional<std::vector<std::int64_t>> integers(std::string_view key, std::int64_t low,
                                                    std::int64_t high) const;
  std::optional<std::vector<bool>> booleans(std::string_view key) const;
  std::optional<std::vector<float>> numbers(std::string_view key) const;

  // Throws LoadError "<file>: <field>: <problem>".
  [[noreturn]] void fail(std::string_view field, std::string_view problem) const;

 private:
  friend class GgufParser;
  explicit GgufFile(std::string name) : name_(std::move(name)) {}

  const GgufArray* array(std::string_view key) const;

  std::string name_;
  std::shared_ptr<const MappedFile> file_;  // null when parsed from memory
  std::span<const std::byte> header_;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace mlxd
