#include "model/weights/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "model/json_fields.h"
#include "model/quoted.h"
#include "model/weights/json_duplicates.h"

namespace mlxd {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::size_t kMaxDimensions = 8;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

std::optional<std::uint64_t> dtype_bytes(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 16> kSizes = {
      {{"BOOL", 1},
       {"U8", 1},
       {"I8", 1},
       {"F8_E4M3", 1},
       {"F8_E5M2", 1},
       {"F8_E8M0", 1},
       {"I16", 2},
       {"U16", 2},
       {"F16", 2},
       {"BF16", 2},
       {"I32", 4},
       {"U32", 4},
       {"F32", 4},
       {"I64", 8},
       {"U64", 8},
       {"F64", 8}}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return std::nullopt;
}

// The elements of a list of integers in [0, high].
std::vector<std::int64_t> read_integers(const JsonFields& fields, std::string_view field,
                                        std::int64_t high, std::size_t longest) {
  const boost::json::array* list = fields.array(field);
  if (list == nullptr) fields.fail(field, "is missing");
  if (list->size() > longest) {
    fields.fail(field, fmt::format("has {} entries; {} are allowed", list->size(), longest));
  }
  std::vector<std::int64_t> values;
  for (const boost::json::value& each : *list) {
    const std::int64_t* value = each.if_int64();
    if (value == nullptr || *value < 0 || *value > high) {
      fields.fail_type(field, each, fmt::format("a list of integers from 0 to {}", high));
    }
    values.push_back(*value);
  }
  return values;
}

std::pair<std::int64_t, std::int64_t> read_range(const JsonFields& fields, std::int64_t available) {
  const auto offsets = read_integers(fields, "data_offsets", available, 2);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    fields.fail("data_offsets", "is not a pair [begin, end] with begin <= end");
  }
  return {offsets[0], offsets[1]};
}

// How many bytes a tensor of that type and shape takes.
std::int64_t byte_size(const JsonFields& fields, const std::string& dtype,
                       const std::vector<std::int64_t>& shape) {
  const auto element = dtype_bytes(dtype);
  if (!element) {
    fields.fail("dtype", fmt::format("is {}, which mlxd does not know", in_quotes(dtype)));
  }
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) {
    if (extent != 0 && elements > kMaxElements / extent) {
      fields.fail("shape", fmt::format("holds more than {} numbers", kMaxElements));
    }
    elements *= extent;
  }
  return elements * static_cast<std::int64_t>(*element);
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile(path.string()));
  file->read(mapped->bytes());
  file->file_ = std::move(mapped);
  return file;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes,
                                                              std::string name) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile(std::move(name)));
  file->read(bytes);
  return file;
}

void SafetensorsFile::fail(std::string_view field, std::string_view problem) const {
  throw LoadError(fmt::format("{}: {} {}", name_, field, problem));
}

void SafetensorsFile::read(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) {
    fail("header length", fmt::format("needs 8 bytes, and the file has {}", bytes.size()));
  }
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes || length > bytes.size() - sizeof length) {
    fail("header length", fmt::format("is {}; the file has {} bytes, and {} are allowed", length,
                                      bytes.size(), kMaxHeaderBytes));
  }
  header_ = bytes.first(sizeof length + static_cast<std::size_t>(length));
  const auto data = bytes.subspan(header_.size());
  const std::string_view json(reinterpret_cast<const char*>(header_.data()) + sizeof length,
                              static_cast<std::size_t>(length));
  const JsonFields header = JsonFields::parse(json, name_);
  if (const auto key = find_duplicate_key(json)) fail(in_quotes(*key), "is in the header twice");

  std::vector<std::pair<Range, std::size_t>> ranges;  // and the entry's index
  for (const auto& [key, value] : header.members()) {
    if (key == "__metadata__") continue;
    const std::string name(key.data(), key.size());
    const JsonFields fields = header.nested(name, value);
    const auto dtype = fields.string("dtype");
    if (!dtype) fields.fail("dtype", "is missing");
    SafetensorsEntry entry{
        name, *dtype, read_integers(fields, "shape", kMaxElements, kMaxDimensions), {}};
    const auto [begin, end] = read_range(fields, static_cast<std::int64_t>(data.size()));
    const std::int64_t size = byte_size(fields, entry.dtype, entry.shape);
    if (end - begin != size) {
      fields.fail("data_offsets",
                  fmt::format("spans {} bytes; the type and shape say {}", end - begin, size));
    }
    entry.data = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
    ranges.emplace_back(Range{begin, end}, entries_.size());
    entries_.push_back(std::move(entry));
  }

  order_by_data(std::move(ranges), data.size());
}

void SafetensorsFile::order_by_data(std::vector<std::pair<Range, std::size_t>> ranges,
                                    std::size_t data_bytes) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.begin, a.first.end) < std::pair(b.first.begin, b.first.end);
  });
  std::vector<SafetensorsEntry> ordered;
  std::int64_t end_of_previous = 0;
  for (const auto& [range, index] : ranges) {
    if (range.begin != end_of_previous) {
      fail("tensor " + in_quotes(entries_[index].name),
           fmt::format("begins at byte {} of the data; the one before it ends at {}", range.begin,
                       end_of_previous));
    }
    end_of_previous = range.end;
    ordered.push_back(std::move(entries_[index]));
  }
  if (end_of_previous != static_cast<std::int64_t>(data_bytes)) {
    fail("the data",
         fmt::format("has {} bytes, and its tensors take {}", data_bytes, end_of_previous));
  }
  entries_ = std::move(ordered);
}

}  // namespace mlxd
