#pragma once

#include <cstdint>

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

inline float load_half(const std::uint8_t* bytes) { return half_to_float(load_u16(bytes)); }

}  // namespace mlxd
