#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "model/tensor.h"

namespace mlxd {

// Tensor data need not be aligned, so wider numbers are assembled from bytes.
inline std::uint16_t load_u16(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8));
}

inline std::uint32_t load_u32(const std::uint8_t* bytes) {
  return static_cast<std::uint32_t>(load_u16(bytes)) |
         (static_cast<std::uint32_t>(load_u16(bytes + 2)) << 16);
}

static_assert(std::endian::native == std::endian::little, "eight bytes at once are as in the file");

inline std::uint64_t load_u64(const std::uint8_t* bytes) {
  std::uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

inline void store_u64(std::uint8_t* bytes, std::uint64_t value) {
  std::memcpy(bytes, &value, sizeof value);
}

// Bit i of eight as the lowest of byte i.
inline std::uint64_t spread_bits(std::uint64_t bits) {
  bits = (bits | bits << 28) & 0x0000000f0000000f;
  bits = (bits | bits << 14) & 0x0003000300030003;
  return (bits | bits << 7) & 0x0101010101010101;
}

// Bits 2i and 2i + 1 of sixteen as the lowest of byte i.
inline std::uint64_t spread_pairs(std::uint64_t bits) {
  bits = (bits | bits << 24) & 0x000000ff000000ff;
  bits = (bits | bits << 12) & 0x000f000f000f000f;
  return (bits | bits << 6) & 0x0303030303030303;
}

inline float load_half(const std::uint8_t* bytes) { return half_to_float(load_u16(bytes)); }

}  // namespace mlxd
