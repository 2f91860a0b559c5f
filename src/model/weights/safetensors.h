#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"

namespace mlxd {

// One entry of a safetensors header.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32", "BF16", "U32", ...: one that the format defines
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;  // exactly what dtype and shape say
};

// One .safetensors file (huggingface/safetensors, README "Format"): eight bytes of header length,
// a JSON header, the data. As the reference implementation does, this refuses headers over 100 MB,
// tensors that overlap or leave gaps, and names that come twice. Immutable; any thread may read.
//
// open and parse throw LoadError with one sentence that names the file, the field and the value.
class SafetensorsFile {
 public:
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);
  // Of bytes in memory, which must outlive the result; `name` is what errors call them.
  static std::shared_ptr<const SafetensorsFile> parse(std::span<const std::byte> bytes,
                                                      std::string name);

  const std::string& name() const { return name_; }
  std::span<const std::byte> header() const { return header_; }  // the JSON and its length
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in data order

  // Throws LoadError "<file>: <field> <problem>".
  [[noreturn]] void fail(std::string_view field, std::string_view problem) const;

 private:
  explicit SafetensorsFile(std::string name) : name_(std::move(name)) {}

  struct Range {
    std::int64_t begin, end;
  };
  void read(std::span<const std::byte> bytes);
  // Sorts the entries by where their bytes lie and checks that these follow without gap or overlap.
  // Each range comes with its entry's index.
  void order_by_data(std::vector<std::pair<Range, std::size_t>> ranges, std::size_t data_bytes);

  std::string name_;
  std::shared_ptr<const MappedFile> file_;  // null when parsed from memory
  std::span<const std::byte> header_;
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace mlxd
