// How weights lie in device memory: in the order in which a warp's lanes feed them to the tensor
// cores, so that one copy of them, read without shared memory, serves every number of rows.
#pragma once

#include <cstddef>

namespace mlxd::cuda_backend {

// Of 16-bit activations and of all weights once they are unpacked; a model has one.
enum class Element { f16, bf16 };

enum class Packing {
  plain,    // numbers of the model's Element
  affine4,  // scale * code + bias, a code of 4 bits
  affine8,
};

inline constexpr int kUnitRows = 16;
inline constexpr int kUnitColumns = 64;
inline constexpr int kBlockTokens = 16;  // of the KV cache
inline constexpr int kLanes = 32;
inline constexpr int kLaneColumns = 16;  // neighbours, of two rows: 8 apart
// The columns of every product are summed in so many parts, and these in order, whatever the
// kernel: so a row's bits do not depend on how many others are in the step.
inline constexpr int kSplits = 8;

// A matrix [rows, columns] in units of 16 x 64, the columns running fastest, what is missing of the
// last ones being zeros. Lane l of a unit holds of row l / 4, and then of row l / 4 + 8, the
// columns from 16 (l % 4) on. Its bytes are cut into chunks of 16, and chunk i of all lanes lies
// before chunk i + 1. In a word of 4-bit codes column 2 i is nibble i, and column 2 i + 1 nibble
// i + 4.
//
// Scales: of each unit `scale_runs` runs of columns, of each run 16 pairs (scale, bias), by row.
struct PackedShape {
  Packing packing = Packing::plain;
  int scale_runs = 0;        // in the columns of a unit: 1, 2 or 4; plain: 0
  bool wide_scales = false;  // pairs of floats instead of Elements
  int rows = 0, columns = 0;

  constexpr int tiles() const { return (rows + kUnitRows - 1) / kUnitRows; }
  constexpr int units() const { return (columns + kUnitColumns - 1) / kUnitColumns; }
  constexpr int lane_chunks() const {
    return packing == Packing::plain ? 4 : packing == Packing::affine8 ? 2 : 1;
  }
  constexpr std::size_t unit_bytes() const { return std::size_t{16} * kLanes * lane_chunks(); }
  constexpr std::size_t unit_scale_bytes() const {
    return std::size_t{kUnitRows} * scale_runs * (wide_scales ? 8 : 4);
  }
  constexpr std::size_t code_bytes() const { return unit_bytes() * tiles() * units(); }
  constexpr std::size_t scale_bytes() const { return unit_scale_bytes() * tiles() * units(); }
  constexpr std::size_t bytes() const { return code_bytes() + scale_bytes(); }
  bool operator==(const PackedShape&) const = default;
};

}  // namespace mlxd::cuda_backend
