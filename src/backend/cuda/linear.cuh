// y = W x: weights are the left side of mma, 16 rows at a time, and rows of activations its
// columns.
//
// Of every product the columns are summed in kSplits parts, each from its first unit to its last,
// and the parts in order. With few rows a warp computes each part; with many one warp does them
// all, one after another: the same sums in the same order, so the same bits.
#pragma once

#include "backend/cuda/unpack.cuh"

namespace mlxd::cuda_backend {

__device__ inline int first_unit(int units, int split) { return units * split / kSplits; }

__device__ inline float activate(Epilogue::Activation activation, float x) {
  switch (activation) {
    case Epilogue::silu:
      return x / (1 + __expf(-x));
    case Epilogue::gelu_tanh: {
      const float inner = 0.7978845608f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1 + tanhf(inner));
    }
    default: {
      const float positive = fmaxf(x, 0.f);
      return positive * positive;
    }
  }
}

// `m` and `n` are row and column of y^T. Of `gated`, `value` is of the gate and `up` of the row
// that lies 8 behind.
template <class T>
__device__ void finish(const Epilogue& e, int m, int n, int rows_of_matrix, float value, float up) {
  if (m >= rows_of_matrix) return;
  if (e.bias) value = __fadd_rn(value, e.bias[m]);
  const long line = static_cast<long>(n) * e.stride;
  switch (e.kind) {
    case Epilogue::store:
      e.out[line + m] = value;
      break;
    case Epilogue::add:
      e.out[line + m] = fmaf(e.factor, value, e.out[line + m]);
      break;
    case Epilogue::gated:
      if (e.bias) up = __fadd_rn(up, e.bias[m + 8]);
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
template <class T, Packing packing, bool wide, int kColumnTiles>
__global__ void __launch_bounds__(kFewWarps * 32)
    multiply_few(DeviceMatrix matrix, const T* __restrict__ x, int stride, int rows, Epilogue e) {
  constexpr int kColumns = 8 * kColumnTiles;
  __shared__ float parts[kSplits][kColumns][kUnitRows + 1];
  const int lane = threadIdx.x % 32, split = threadIdx.x / 32;
  const int units = matrix.shape.units();
  const int tile = blockIdx.x, first_column = blockIdx.y * kColumns;
  float sum[kColumnTiles][4] = {};

  const auto add_unit = [&](const LaneUnit<packing>& loaded, int unit) {
    std::uint32_t a[2][8];
    unpack<T, packing, wide>(loaded, a);
#pragma unroll
    for (int t = 0; t < kColumnTiles; ++t) {
      const int n = first_column + 8 * t + lane / 4;
      uint4 low = {}, high = {};
      if (n < rows) {
        const auto* from = reinterpret_cast<const uint4*>(
            x + static_cast<long>(n) * stride + unit * kUnitColumns + lane % 4 * kLaneColumns);
        low = __ldg(from);
        high = __ldg(from + 1);
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
  const long base = static_cast<long>(tile) * units;
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
    if (first_column + n >= rows) continue;
    float value = 0, up = 0;
#pragma unroll
    for (int s = 0; s < kSplits; ++s) {
      value = __fadd_rn(value, parts[s][n][m]);
      if (gated) up = __fadd_rn(up, parts[s][n][m + 8]);
    }
    finish<T>(e, tile * kUnitRows + m, first_column + n, matrix.shape.rows, value, up);
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
template <class T, Packing packing, bool wide>
__global__ void __launch_bounds__(kManyWarps * 32, 1)
    multiply_many(DeviceMatrix matrix, const T* __restrict__ x, int stride, int rows, Epilogue e) {
  __shared__ __align__(16) uint4 stages[kStages][kManyColumns][8];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int g = lane / 4, c = lane % 4;
  const int units = matrix.shape.units(), tiles = matrix.shape.tiles();
  const int first_tile = blockIdx.x * kManyTiles + warp % 4 * 2;
  const int first_column = blockIdx.y * kManyColumns, warp_column = warp / 4 * 64;

  const auto request = [&](int unit) {
    if (unit < units) {
      for (int i = threadIdx.x; i < kManyColumns * 8; i += blockDim.x) {
        const int n = i / 8, chunk = i % 8;
        const bool there = first_column + n < rows;
        const T* from = x + static_cast<long>(there ? first_column + n : 0) * stride +
                        unit * kUnitColumns + chunk * 8;
        copy_async(&stages[unit % kStages][n][chunk ^ n % 8], from, there);
      }
    }
    asm volatile("cp.async.commit_group;");
  };
  const auto load = [&](int tile, int unit) {
    const int there = min(tile, tiles - 1);
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
        const int column = first_column + warp_column + 8 * n + 2 * c + i;
        if (column >= rows) continue;
        finish<T>(e, m, column, matrix.shape.rows, sum[t][n][i], sum[t][n][i + 2]);
        if (e.kind != Epilogue::gated) {
          finish<T>(e, m + 8, column, matrix.shape.rows, sum[t][n][i + 2], 0);
        }
      }
    }
  }
}

// From so many rows on the second kernel is the faster one.
inline constexpr int kMany = 65;

template <class T, Packing packing, bool wide>
void launch_multiply(const DeviceMatrix& matrix, const void* x16, int stride, int rows,
                     const Epilogue& e, cudaStream_t stream) {
  const auto* x = static_cast<const T*>(x16);
  const auto tiles = static_cast<unsigned>(matrix.shape.tiles());
  const auto blocks = [](unsigned count, unsigned of) { return (count + of - 1) / of; };
  const auto count = static_cast<unsigned>(rows);
  if (rows >= kMany) {
    const dim3 grid(blocks(tiles, kManyTiles), blocks(count, kManyColumns));
    multiply_many<T, packing, wide>
        <<<grid, kManyWarps * 32, 0, stream>>>(matrix, x, stride, rows, e);
  } else if (rows <= 8) {
    multiply_few<T, packing, wide, 1>
        <<<dim3(tiles, 1), kFewWarps * 32, 0, stream>>>(matrix, x, stride, rows, e);
  } else if (rows <= 16) {
    multiply_few<T, packing, wide, 2>
        <<<dim3(tiles, 1), kFewWarps * 32, 0, stream>>>(matrix, x, stride, rows, e);
  } else {
    multiply_few<T, packing, wide, 4>
        <<<dim3(tiles, blocks(count, 32)), kFewWarps * 32, 0, stream>>>(matrix, x, stride, rows, e);
  }
}

template <class T>
void multiply_as(const DeviceMatrix& matrix, const void* x, int stride, int rows, const Epilogue& e,
                 cudaStream_t stream) {
  switch (matrix.shape.packing) {
    case Packing::plain:
      return launch_multiply<T, Packing::plain, false>(matrix, x, stride, rows, e, stream);
    case Packing::affine4:
      return matrix.shape.wide_scales
                 ? launch_multiply<T, Packing::affine4, true>(matrix, x, stride, rows, e, stream)
                 : launch_multiply<T, Packing::affine4, false>(matrix, x, stride, rows, e, stream);
    case Packing::affine8:
      return matrix.shape.wide_scales
                 ? launch_multiply<T, Packing::affine8, true>(matrix, x, stride, rows, e, stream)
                 : launch_multiply<T, Packing::affine8, false>(matrix, x, stride, rows, e, stream);
  }
}

}  // namespace mlxd::cuda_backend
