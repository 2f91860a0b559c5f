#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "model/tensor.h"

namespace mlxd::gguf {

// Type ids of metadata values, as the format numbers them.
enum ValueType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

std::string_view value_type_name(std::uint32_t type);

// Bytes of a value of fixed size; 0 for strings, arrays and unknown types.
std::size_t value_size(std::uint32_t type);

// The encoding behind a ggml tensor type id, when mlxd reads it.
std::optional<Encoding> tensor_encoding(std::uint32_t ggml_type);

// "IQ4_XS"; for an id that is none of ggml's, "type 99 (of a fork of llama.cpp, ...)".
std::string tensor_type_name(std::uint32_t ggml_type);

template <class T>
T load(const std::byte* bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Calls visit(value) with the number of that fixed-size type at `bytes`: uint64_t for unsigned
// types, int64_t for signed ones, double for floats, bool for bool.
template <class Visitor>
auto visit_number(std::uint32_t type, const std::byte* bytes, Visitor&& visit) {
  switch (type) {
    case kUint8:
      return visit(std::uint64_t{load<std::uint8_t>(bytes)});
    case kInt8:
      return visit(std::int64_t{load<std::int8_t>(bytes)});
    case kUint16:
      return visit(std::uint64_t{load<std::uint16_t>(bytes)});
    case kInt16:
      return visit(std::int64_t{load<std::int16_t>(bytes)});
    case kUint32:
      return visit(std::uint64_t{load<std::uint32_t>(bytes)});
    case kInt32:
      return visit(std::int64_t{load<std::int32_t>(bytes)});
    case kUint64:
      return visit(load<std::uint64_t>(bytes));
    case kInt64:
      return visit(load<std::int64_t>(bytes));
    case kFloat32:
      return visit(double{load<float>(bytes)});
    case kFloat64:
      return visit(load<double>(bytes));
    default:
      return visit(load<std::uint8_t>(bytes) != 0);
  }
}

}  // namespace mlxd::gguf
