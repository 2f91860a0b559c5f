// Attention over paged keys and values, of one row as of many: a warp has 16 queries, the heads of
// a KV head over neighbouring rows, on the left side of mma, and keys come to it 32 at a time.
//
// What a row's bits depend on is its own positions alone. Keys are cut into parts, and a part into
// chunks that four warps take in turns, by absolute positions; a chunk that a row sees nothing of
// changes nothing of its sums; warps and then parts are joined in order.
#include <algorithm>

#include "backend/cuda/element.cuh"

namespace mlxd::cuda_backend {
namespace {

constexpr int kWarps = 4, kChunkKeys = 32, kQueries = 16;
constexpr float kLog2E = 1.4426950408889634f;

// exp2(from - to), and 0 where `from` is of nothing at all.
__device__ float weight_of(float from, float to) {
  return from == -INFINITY ? 0.f : exp2f(__fsub_rn(from, to));
}

// What keys so far make of a row's head: the largest score (of base 2), and over it the sum of
// weights and, for one dimension, of weighted values.
struct Sums {
  float most = -INFINITY, weights = 0, value = 0;

  __device__ void join(float other_most, float other_weights, float other_value) {
    if (other_most == -INFINITY) return;
    const float to = fmaxf(most, other_most);
    const float own = weight_of(most, to), other = weight_of(other_most, to);
    weights = __fmaf_rn(other_weights, other, __fmul_rn(weights, own));
    value = __fmaf_rn(other_value, other, __fmul_rn(value, own));
    most = to;
  }
};

// Of a warp, in registers: queries lane / 4 and lane / 4 + 8.
template <int D>
struct WarpSums {
  float out[D / 8][4];
  float most[2], weights[2];  // weights: of this lane's keys
};

// A column of a row's head when all its keys are in.
__device__ float finished(const AttentionShape& s, const float* qkv, long row, int head, int column,
                          Sums sums) {
  if (s.sinks) {
    const float sink = __fmul_rn(s.sinks[head], kLog2E);
    sums.weights = __fadd_rn(sums.weights, exp2f(__fsub_rn(sink, sums.most)));
  }
  const float value = __fdiv_rn(sums.value, sums.weights);
  if (!s.gated) return value;
  const float gate = qkv[row * s.columns() + (2 * head + 1) * s.head_dim + column];
  return value / (1 + expf(-gate));
}

struct Keys {
  const int* table;
  int first, last;  // positions that any of the tile's rows sees
  int position[2];  // of the lane's two queries; -1: none
};

template <class T, int D>
__device__ void add_chunk(const AttentionShape& s, const T* keys, const T* values, int kv_head,
                          const std::uint32_t (&q)[D / 16][4], const Keys& seen, int key,
                          WarpSums<D>& sums) {
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  float score[4][4] = {};
  int block[2];
#pragma unroll
  for (int b = 0; b < 2; ++b) {
    const int first = key + kBlockTokens * b;
    const bool there = first <= seen.last && first + kBlockTokens > seen.first;
    block[b] = there ? seen.table[first / kBlockTokens] : -1;
    if (block[b] < 0) continue;
    const T* of_block =
        keys + (static_cast<long>(block[b]) * s.kv_heads + kv_head) * kBlockTokens * D;
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      // Columns 2 c + e of both products' 8 are tokens 4 c + e and 4 c + 2 + e, so that a lane's
      // weights are of four neighbours, as it reads values.
      const T* of_token = of_block + (4 * (g / 2) + g % 2 + 2 * t) * D + 4 * c;
#pragma unroll
      for (int j = 0; j < D / 16; ++j) {
        const uint2 k = *reinterpret_cast<const uint2*>(of_token + 16 * j);
        mma<T>(score[2 * b + t], q[j][0], q[j][1], q[j][2], q[j][3], k.x, k.y);
      }
    }
  }
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const int position = seen.position[row];
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float& x = score[i / 2][2 * row + i % 2];
      const int at = key + kBlockTokens * (i / 4) + 4 * c + 2 * (i / 2 % 2) + i % 2;
      const bool visible = at <= position && (s.window == 0 || at > position - s.window);
      x = __fmul_rn(x, s.scale);
      if (s.softcap > 0) x = s.softcap * tanhf(x / s.softcap);
      x = visible ? __fmul_rn(x, kLog2E) : -INFINITY;
      most = fmaxf(most, x);
    }
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
    const float to = fmaxf(sums.most[row], most);
    const float factor = to == sums.most[row] ? 1.f : weight_of(sums.most[row], to);
    sums.most[row] = to;
    float weights = __fmul_rn(sums.weights[row], factor);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float& x = score[i / 2][2 * row + i % 2];
      x = weight_of(x, to);
      weights = __fadd_rn(weights, x);
    }
    sums.weights[row] = weights;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      sums.out[n][2 * row] = __fmul_rn(sums.out[n][2 * row], factor);
      sums.out[n][2 * row + 1] = __fmul_rn(sums.out[n][2 * row + 1], factor);
    }
  }
#pragma unroll
  for (int b = 0; b < 2; ++b) {
    if (block[b] < 0) continue;
    std::uint32_t p[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[i] = pack<T>(score[2 * b + i / 2][i % 2 * 2], score[2 * b + i / 2][i % 2 * 2 + 1]);
    }
    const T* of_block =
        values + (static_cast<long>(block[b]) * s.kv_heads + kv_head) * kBlockTokens * D;
    // What lies behind the last token was never written, or by somebody else.
    const int written = seen.last + 1 - (key + kBlockTokens * b) - 4 * c;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      uint2 v = *reinterpret_cast<const uint2*>(of_block + (8 * n + g) * kBlockTokens + 4 * c);
      if (written < 4) {
        if (written < 1) v.x = 0;
        if (written < 3) v.y = 0;
        if (written == 1) v.x &= 0xffff;
        if (written == 3) v.y &= 0xffff;
      }
      mma<T>(sums.out[n], p[0], p[1], p[2], p[3], v.x, v.y);
    }
  }
}

// Of a warp, for the others: [query][dimension], and of each query the largest score and weights.
template <int D>
struct Shared {
  float out[kWarps][kQueries][D];
  float most[kWarps][kQueries], weights[kWarps][kQueries];
};

template <class T, int D>
__global__ void __launch_bounds__(kWarps * 32)
    attend_tile(AttentionShape s, const float* qkv, const T* q16, const T* keys, const T* values,
                const QueryTile* tiles, const int* tables, int parts, float* scratch, T* out,
                int stride) {
  extern __shared__ __align__(16) unsigned char raw[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(raw);
  const QueryTile tile = tiles[blockIdx.x];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, c = lane % 4;
  const int kv_head = blockIdx.y, group = s.heads / s.kv_heads;

  Keys seen{.table = tables + tile.table};
  seen.first = s.window == 0 ? 0 : max(tile.position - s.window + 1, 0);
  seen.last = tile.position + tile.count - 1;
  std::uint32_t q[D / 16][4] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int query = g + 8 * i, row = query / group;
    seen.position[i] = row < tile.count ? tile.position + row : -1;
    if (row >= tile.count) continue;
    const T* from =
        q16 + (static_cast<long>(tile.row + row) * s.heads + kv_head * group + query % group) * D +
        4 * c;
#pragma unroll
    for (int j = 0; j < D / 16; ++j) {
      const uint2 four = *reinterpret_cast<const uint2*>(from + 16 * j);
      q[j][i] = four.x;
      q[j][i + 2] = four.y;
    }
  }

  constexpr int kOwned = kQueries * D / (kWarps * 32);  // outputs of a thread
  Sums total[kOwned];
  const int first_part = parts == 1 ? seen.first / kPartKeys : static_cast<int>(blockIdx.z);
  const int last_part = parts == 1 ? seen.last / kPartKeys : static_cast<int>(blockIdx.z);
  if (first_part > seen.last / kPartKeys || last_part < seen.first / kPartKeys) return;
  for (int part = first_part; part <= last_part; ++part) {
    WarpSums<D> sums{};
    sums.most[0] = sums.most[1] = -INFINITY;
    for (int i = warp; i < kPartKeys / kChunkKeys; i += kWarps) {
      const int key = part * kPartKeys + i * kChunkKeys;
      if (key > seen.last || key + kChunkKeys <= seen.first) continue;
      add_chunk<T, D>(s, keys, values, kv_head, q, seen, key, sums);
    }
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float weights = sums.weights[row];
      weights = __fadd_rn(weights, __shfl_xor_sync(~0u, weights, 1));
      weights = __fadd_rn(weights, __shfl_xor_sync(~0u, weights, 2));
      const int query = g + 8 * row;
      if (c == 0) {
        shared.most[warp][query] = sums.most[row];
        shared.weights[warp][query] = weights;
      }
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        shared.out[warp][query][8 * n + 2 * c] = sums.out[n][2 * row];
        shared.out[warp][query][8 * n + 2 * c + 1] = sums.out[n][2 * row + 1];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      const int at = i * kWarps * 32 + threadIdx.x, query = at / D, column = at % D;
      Sums joined;
      for (int w = 0; w < kWarps; ++w) {
        joined.join(shared.most[w][query], shared.weights[w][query], shared.out[w][query][column]);
      }
      if (parts == 1) {
        total[i].join(joined.most, joined.weights, joined.value);
      } else if (query / group < tile.count) {
        const long line = (static_cast<long>(tile.row + query / group) * s.heads + kv_head * group +
                           query % group) *
                              parts +
                          part;
        float* to = scratch + line * (D + 2);
        to[column] = joined.value;
        if (column == 0) {
          to[D] = joined.most;
          to[D + 1] = joined.weights;
        }
      }
    }
    __syncthreads();
  }
  if (parts > 1) return;
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    const int at = i * kWarps * 32 + threadIdx.x, query = at / D, column = at % D;
    if (query / group >= tile.count) continue;
    const int head = kv_head * group + query % group;
    out[static_cast<long>(tile.row + query / group) * stride + head * D + column] =
        Of<T>::from(finished(s, qkv, tile.row + query / group, head, column, total[i]));
  }
}

template <class T, int D>
__global__ void join_parts(AttentionShape s, const float* qkv, const int* positions, int parts,
                           const float* scratch, T* out, int stride) {
  const int row = blockIdx.x, head = blockIdx.y, position = positions[row];
  const int first = s.window == 0 ? 0 : max(position - s.window + 1, 0);
  const float* lines = scratch + (static_cast<long>(row) * s.heads + head) * parts * (D + 2);
  for (int column = threadIdx.x; column < D; column += blockDim.x) {
    Sums total;
    for (int part = first / kPartKeys; part <= position / kPartKeys; ++part) {
      const float* line = lines + static_cast<long>(part) * (D + 2);
      total.join(line[D], line[D + 1], line[column]);
    }
    out[static_cast<long>(row) * stride + head * D + column] =
        Of<T>::from(finished(s, qkv, row, head, column, total));
  }
}

struct Call {
  const AttentionShape& shape;
  const float* qkv;
  const void* q16;
  const KvCache& cache;
  const QueryTile* tiles;
  int tile_count;
  const int *tables, *positions;
  int rows, parts;
  float* scratch;
  void* out16;
  int stride;
  cudaStream_t stream;
};

template <class T, int D>
void attend_with(const Call& call) {
  const auto kernel = attend_tile<T, D>;
  constexpr int kBytes = sizeof(Shared<D>);
  static const cudaError_t set =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  static_cast<void>(set);  // what fails here fails at the launch
  auto* out = static_cast<T*>(call.out16);
  const AttentionShape& s = call.shape;
  const dim3 grid(static_cast<unsigned>(call.tile_count), static_cast<unsigned>(s.kv_heads),
                  static_cast<unsigned>(call.parts));
  kernel<<<grid, kWarps * 32, kBytes, call.stream>>>(
      s, call.qkv, static_cast<const T*>(call.q16), static_cast<const T*>(call.cache.keys),
      static_cast<const T*>(call.cache.values), call.tiles, call.tables, call.parts, call.scratch,
      out, call.stride);
  if (call.parts > 1) {
    const dim3 lines(static_cast<unsigned>(call.rows), static_cast<unsigned>(s.heads));
    const auto join = join_parts<T, D>;
    constexpr int kThreads = std::min(D, 128);
    join<<<lines, kThreads, 0, call.stream>>>(s, call.qkv, call.positions, call.parts, call.scratch,
                                              out, call.stride);
  }
}

template <class T>
void attend_as(const Call& call) {
  switch (call.shape.head_dim) {
    case 16:
      return attend_with<T, 16>(call);
    case 32:
      return attend_with<T, 32>(call);
    case 64:
      return attend_with<T, 64>(call);
    case 80:
      return attend_with<T, 80>(call);
    case 96:
      return attend_with<T, 96>(call);
    case 128:
      return attend_with<T, 128>(call);
    case 256:
      return attend_with<T, 256>(call);
  }
}

}  // namespace

void attend(Element element, const AttentionShape& shape, const float* qkv, const void* q16,
            const KvCache& cache, const QueryTile* tiles, int tile_count, const int* tables,
            const int* positions, int rows, int parts, float* scratch, void* out16, int stride,
            cudaStream_t stream) {
  const Call call{shape,     qkv,  q16,   cache,   tiles, tile_count, tables,
                  positions, rows, parts, scratch, out16, stride,     stream};
  if (element == Element::f16) return attend_as<__half>(call);
  attend_as<__nv_bfloat16>(call);
}

}  // namespace mlxd::cuda_backend
