// y = W x: weights are the left side of mma, 16 rows at a time, and rows of activations its
// columns.
//
// Of every product the columns are summed in kSplits parts, each from its first unit to its last,
// and the parts in order. With few rows a warp computes each part; with many one warp does them
// all, one after another: the same sums in the same order, so the same bits.
#pragma once

#include "backend/cuda/expert_kernels.h"
#include "backend/cuda/unpack.cuh"

namespace mlxd::cuda_backend {

__device__ inline int first_unit(int units, int split) { return units * split / kSplits; }

// Which columns of y^T a block computes, with which rows of the matrix.
struct ColumnTile {
  int first = 0, count = 0;
  int matrix_tile = 0, matrix_tiles = 0;  // its tiles of rows: the first, and how many
  int matrix_rows = 0;                    // in these
};

// Every row of x with every row of the matrix.
struct AllRows {
  int count;

  __device__ ColumnTile tile(const DeviceMatrix& matrix, int index, int width) const {
    const int first = index * width;
    return {first, min(count - first, width), 0, matrix.shape.tiles(), matrix.shape.rows};
  }
  __device__ int source(int column) const { return column; }
};

// A matrix of each expert, whose columns are pairs by place.
struct ExpertRows {
  const ExpertTile* tiles;
  const int *tile_count, *rows;  // rows: of x, by place; null: the place
  int matrix_tiles, matrix_rows;

  __device__ ColumnTile tile(const DeviceMatrix&, int index, int) const {
    if (index >= *tile_count) return {};
    const ExpertTile of = tiles[index];
    return {of.first, of.count, of.expert * matrix_tiles, matrix_tiles, matrix_rows};
  }
  __device__ int source(int column) const { return rows ? rows[column] : column; }
};

__device__ inline float activate(Epilogue::Activation activation, float x) {
  switch (activation) {
    case Epilogue::silu:
      return x / (1 + __expf(-x));
    case Epilogue::gelu_tanh: {
      const float inner = 0.7978845608f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1 + tanhf(inner));
    }
    case Epilogue::clamped_swiglu: {
      const float low = fminf(x, 7.f);
      return low / (1 + __expf(-1.702f * low));
    }
    default: {
      const float positive = fmaxf(x, 0.f);
      return positive * positive;
    }
  }
}

// `m` and `n` are row, of the tile's matrix, and column of y^T. Of `gated`, `value` is of the gate
// and `up` of the row that lies 8 behind.
template <class T>
__device__ void finish(const Epilogue& e, const ColumnTile& tile, int m, int n, float value,
                       float up) {
  if (m >= tile.matrix_rows) return;
  const float* const bias = e.bias ? e.bias + tile.matrix_tile * kUnitRows : nullptr;
  if (bias) value = __fadd_rn(value, bias[m]);
  const long line = static_cast<long>(n) * e.stride;
  switch (e.kind) {
    case Epilogue::store:
      e.out[line + m] = value;
      break;
    case Epilogue::add:
      e.out[line + m] = fmaf(e.factor, value, e.out[line + m]);
      break;
    case Epilogue::gated:
      if (bias) up = __fadd_rn(up, bias[m + 8]);
      if (e.activation == Epilogue::clamped_swiglu) up = fminf(fmaxf(up, -7.f), 7.f) + 1;
      static_cast<T*>(e.out16)[line + m / 16 * 8 + m % 8] =
          Of<T>::from(__fmul_rn(activate(e.activation, value), up));
      break;
    case Epilogue::plain:
      static_cast<T*>(e.out16)[line + m] = Of<T>::from(activate(e.activation, value));
      break;
  }
}

inline constexpr int kFewWarps = kSplits;

// A block computes one tile of 16 rows of y^T, and 8 * kColumnTiles of its columns.
template <class T, Packing packing, bool wide, int kColumnTiles, class Rows>
__global__ void __launch_bounds__(kFewWarps * 32)
    multiply_few(DeviceMatrix matrix, const T* __restrict__ x, int stride, Rows rows, Epilogue e) {
  constexpr int kColumns = 8 * kColumnTiles;
  __shared__ float parts[kSplits][kColumns][kUnitRows + 1];
  const int lane = threadIdx.x % 32, split = threadIdx.x / 32;
  const int units = matrix.shape.units();
  const int tile = blockIdx.x;
  const ColumnTile columns = rows.tile(matrix, static_cast<int>(blockIdx.y), kColumns);
  if (columns.count <= 0) return;
  const T* from[kColumnTiles];  // of the lane's columns; null: not there
#pragma unroll
  for (int t = 0; t < kColumnTiles; ++t) {
    const int n = 8 * t + lane / 4;
    from[t] = nullptr;
    if (n >= columns.count) continue;
    from[t] =
        x + static_cast<long>(rows.source(columns.first + n)) * stride + lane % 4 * kLaneColumns;
  }
  float sum[kColumnTiles][4] = {};

  const auto add_unit = [&](const LaneUnit<packing>& loaded, int unit) {
    std::uint32_t a[2][8];
    unpack<T, packing, wide>(loaded, a);
#pragma unroll
    for (int t = 0; t < kColumnTiles; ++t) {
      uint4 low = {}, high = {};
      if (from[t]) {
        const auto* chunk = reinterpret_cast<const uint4*>(from[t] + unit * kUnitColumns);
        low = __ldg(chunk);
        high = __ldg(chunk + 1);
      }
      mma<T>(sum[t], a[0][0], a[1][0], a[0][1], a[1][1], low.x, low.y);
      mma<T>(sum[t], a[0][2], a[1][2], a[0][3], a[1][3], low.z, low.w);
      mma<T>(sum[t], a[0][4], a[1][4], a[0][5], a[1][5], high.x, high.y);
      mma<T>(sum[t], a[0][6], a[1][6], a[0][7], a[1][7], high.z, high.w);
    }
  };

  constexpr int kAhead = packing == Packing::plain ? 2 : 4;  // units on their way
  const int end = first_unit(units, split + 1);
  int unit = first_unit(units, split);
  const long base = static_cast<long>(columns.matrix_tile + tile) * units;
  for (; unit + kAhead <= end; unit += kAhead) {
    LaneUnit<packing> loaded[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      loaded[i] = load_unit<packing, wide>(matrix, base + unit + i, lane);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) add_unit(loaded[i], unit + i);
  }
  for (; unit < end; ++unit) {
    add_unit(load_unit<packing, wide>(matrix, base + unit, lane), unit);
  }

#pragma unroll
  for (int t = 0; t < kColumnTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      parts[split][8 * t + lane % 4 * 2 + i % 2][lane / 4 + i / 2 * 8] = sum[t][i];
    }
  }
  __syncthreads();
  const bool gated = e.kind == Epilogue::gated;
  const int lines = gated ? 8 : 16;
  for (int i = threadIdx.x; i < kColumns * lines; i += blockDim.x) {
    const int m = i % lines, n = i / lines;
    if (n >= columns.count) continue;
    float value = 0, up = 0;
#pragma unroll
    for (int s = 0; s < kSplits; ++s) {
      value = __fadd_rn(value, parts[s][n][m]);
      if (gated) up = __fadd_rn(up, parts[s][n][m + 8]);
    }
    finish<T>(e, columns, tile * kUnitRows + m, columns.first + n, value, up);
  }
}

inline constexpr int kManyWarps = 8, kManyTiles = 8, kManyColumns = 128, kStages = 3;

__device__ inline void copy_async(void* to, const void* from, bool there) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(bytes));
}

// A block computes 8 tiles of 16 rows of y^T and 128 of its columns, a warp 2 tiles and 64 columns.
// Units of activations travel through shared memory, weights come straight from their place.
template <class T, Packing packing, bool wide, class Rows>
__global__ void __launch_bounds__(kManyWarps * 32, 1)
    multiply_many(DeviceMatrix matrix, const T* __restrict__ x, int stride, Rows rows, Epilogue e) {
  __shared__ __align__(16) uint4 stages[kStages][kManyColumns][8];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int g = lane / 4, c = lane % 4;
  const int units = matrix.shape.units();
  const ColumnTile columns = rows.tile(matrix, static_cast<int>(blockIdx.y), kManyColumns);
  if (columns.count <= 0) return;
  const int first_tile = blockIdx.x * kManyTiles + warp % 4 * 2, warp_column = warp / 4 * 64;

  const auto request = [&](int unit) {
    if (unit < units) {
      for (int i = threadIdx.x; i < kManyColumns * 8; i += blockDim.x) {
        const int n = i / 8, chunk = i % 8;
        const bool there = n < columns.count;
        const T* from = x +
                        static_cast<long>(rows.source(columns.first + (there ? n : 0))) * stride +
                        unit * kUnitColumns + chunk * 8;
        copy_async(&stages[unit % kStages][n][chunk ^ n % 8], from, there);
      }
    }
    asm volatile("cp.async.commit_group;");
  };
  const auto load = [&](int tile, int unit) {
    const int there = columns.matrix_tile + min(tile, columns.matrix_tiles - 1);
    return load_unit<packing, wide>(matrix, static_cast<long>(there) * units + unit, lane);
  };

  float part[2][8][4] = {}, sum[2][8][4] = {};
  LaneUnit<packing> next[2] = {load(first_tile, 0), load(first_tile + 1, 0)};
  for (int i = 0; i < kStages - 1; ++i) request(i);
  int split = 0;
  for (int unit = 0; unit < units; ++unit) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2));
    __syncthreads();
    request(unit + kStages - 1);
    std::uint32_t a[2][2][8];
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      unpack<T, packing, wide>(next[t], a[t]);
      if (unit + 1 < units) next[t] = load(first_tile + t, unit + 1);
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      if (warp_column + 8 * n >= columns.count) break;
      const int row = warp_column + 8 * n + g;
      const uint4 low = stages[unit % kStages][row][2 * c ^ row % 8];
      const uint4 high = stages[unit % kStages][row][(2 * c + 1) ^ row % 8];
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        mma<T>(part[t][n], a[t][0][0], a[t][1][0], a[t][0][1], a[t][1][1], low.x, low.y);
        mma<T>(part[t][n], a[t][0][2], a[t][1][2], a[t][0][3], a[t][1][3], low.z, low.w);
        mma<T>(part[t][n], a[t][0][4], a[t][1][4], a[t][0][5], a[t][1][5], high.x, high.y);
        mma<T>(part[t][n], a[t][0][6], a[t][1][6], a[t][0][7], a[t][1][7], high.z, high.w);
      }
    }
    for (; split < kSplits && first_unit(units, split + 1) <= unit + 1; ++split) {
#pragma unroll
      for (int t = 0; t < 2; ++t) {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sum[t][n][i] = __fadd_rn(sum[t][n][i], part[t][n][i]);
            part[t][n][i] = 0;
          }
        }
      }
    }
  }

#pragma unroll
  for (int t = 0; t < 2; ++t) {
    const int m = (first_tile + t) * kUnitRows + g;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = warp_column + 8 * n + 2 * c + i;
        if (column >= columns.count) continue;
        finish<T>(e, columns, m, columns.first + column, sum[t][n][i], sum[t][n][i + 2]);
        if (e.kind != Epilogue::gated) {
          finish<T>(e, columns, m + 8, columns.first + column, sum[t][n][i + 2], 0);
        }
      }
    }
  }
}

// From so many rows on the second kernel is the faster one.
inline constexpr int kMany = 65;

constexpr unsigned blocks_of(int count, int of) {
  return static_cast<unsigned>((count + of - 1) / of);
}

struct MultiplyAll {
  const DeviceMatrix& matrix;
  const void* x;
  int stride, rows;
  const Epilogue& e;
  cudaStream_t stream;

  template <class T, Packing packing, bool wide>
  void launch() const {
    const auto* from = static_cast<const T*>(x);
    const unsigned tiles = blocks_of(matrix.shape.rows, kUnitRows);
    const auto few = [&](auto kernel, int width) {
      const dim3 grid(tiles, blocks_of(rows, width));
      kernel<<<grid, kFewWarps * 32, 0, stream>>>(matrix, from, stride, AllRows{rows}, e);
    };
    if (rows >= kMany) {
      const dim3 grid(blocks_of(static_cast<int>(tiles), kManyTiles),
                      blocks_of(rows, kManyColumns));
      multiply_many<T, packing, wide>
          <<<grid, kManyWarps * 32, 0, stream>>>(matrix, from, stride, AllRows{rows}, e);
    } else if (rows <= 8) {
      few(multiply_few<T, packing, wide, 1, AllRows>, 8);
    } else if (rows <= 16) {
      few(multiply_few<T, packing, wide, 2, AllRows>, 16);
    } else {
      few(multiply_few<T, packing, wide, 4, AllRows>, 32);
    }
  }
};

struct MultiplyExperts {
  const ExpertMatrix& matrix;
  const void* x;
  int stride;
  bool gather;
  const SortedPairs& pairs;
  int count;  // of pairs
  const Epilogue& e;
  cudaStream_t stream;

  template <class T, Packing packing, bool wide>
  void launch() const {
    const auto* from = static_cast<const T*>(x);
    const int tiles = matrix.all.shape.tiles() / matrix.experts;
    const ExpertRows rows{pairs.tiles, pairs.tile_count, gather ? pairs.rows : nullptr, tiles,
                          matrix.rows};
    const auto column_tiles = static_cast<unsigned>(most_tiles(count, matrix.experts));
    const auto few = [&](auto kernel) {
      const dim3 grid(static_cast<unsigned>(tiles), column_tiles);
      kernel<<<grid, kFewWarps * 32, 0, stream>>>(matrix.all, from, stride, rows, e);
    };
    switch (tile_width(count, matrix.experts)) {
      case 8:
        return few(multiply_few<T, packing, wide, 1, ExpertRows>);
      case 16:
        return few(multiply_few<T, packing, wide, 2, ExpertRows>);
      case 32:
        return few(multiply_few<T, packing, wide, 4, ExpertRows>);
      default:
        const dim3 grid(blocks_of(tiles, kManyTiles), column_tiles);
        multiply_many<T, packing, wide>
            <<<grid, kManyWarps * 32, 0, stream>>>(matrix.all, from, stride, rows, e);
    }
  }
};

// call.launch<T, packing, wide>() for the matrix's packing.
template <class T>
void launch_for(const PackedShape& shape, const auto& call) {
  switch (shape.packing) {
    case Packing::plain:
      return call.template launch<T, Packing::plain, false>();
    case Packing::affine4:
      return shape.wide_scales ? call.template launch<T, Packing::affine4, true>()
                               : call.template launch<T, Packing::affine4, false>();
    case Packing::affine8:
      return shape.wide_scales ? call.template launch<T, Packing::affine8, true>()
                               : call.template launch<T, Packing::affine8, false>();
  }
}

}  // namespace mlxd::cuda_backend
