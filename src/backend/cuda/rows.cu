// What is done to rows beside products and attention.
#include "backend/cuda/row_sums.cuh"
#include "backend/cuda/unpack.cuh"

namespace mlxd::cuda_backend {
namespace {

constexpr int kThreads = kRowThreads;

template <class T, Packing packing, bool wide>
__global__ void embed_rows(DeviceMatrix table, const int* tokens, float scale, float* x) {
  const int token = tokens[blockIdx.x], units = table.shape.units();
  const int row = token % kUnitRows, columns = table.shape.columns;
  // A thread unpacks what a lane holds of a unit: of two rows 16 columns.
  for (int i = threadIdx.x; i < units * 4; i += kThreads) {
    const long unit = static_cast<long>(token / kUnitRows) * units + i / 4;
    std::uint32_t numbers[2][8];
    unpack<T, packing, wide>(load_unit<packing, wide>(table, unit, row % 8 * 4 + i % 4), numbers);
    const int first = i / 4 * kUnitColumns + i % 4 * kLaneColumns;
#pragma unroll
    for (int pair = 0; pair < 8; ++pair) {
      const std::uint32_t both = row < 8 ? numbers[0][pair] : numbers[1][pair];
      const float2 values = Of<T>::floats(bits_as<typename Of<T>::Pair>(both));
      const int column = first + 2 * pair;
      float* out = x + static_cast<long>(blockIdx.x) * columns;
      if (column < columns) out[column] = values.x * scale;
      if (column + 1 < columns) out[column + 1] = values.y * scale;
    }
  }
}

template <class T>
void embed_as(const DeviceMatrix& table, const int* tokens, int rows, float scale, float* x,
              cudaStream_t stream) {
  const auto launch = [&](auto kernel) {
    kernel<<<rows, kThreads, 0, stream>>>(table, tokens, scale, x);
  };
  const bool wide = table.shape.wide_scales;
  switch (table.shape.packing) {
    case Packing::plain:
      return launch(embed_rows<T, Packing::plain, false>);
    case Packing::affine4:
      return wide ? launch(embed_rows<T, Packing::affine4, true>)
                  : launch(embed_rows<T, Packing::affine4, false>);
    case Packing::affine8:
      return wide ? launch(embed_rows<T, Packing::affine8, true>)
                  : launch(embed_rows<T, Packing::affine8, false>);
  }
}

template <class T>
__global__ void normalise_rows(Norm norm, const float* x, int columns, const int* rows_of, T* out,
                               int stride) {
  const int row = rows_of ? rows_of[blockIdx.x] : static_cast<int>(blockIdx.x);
  const float* from = x + static_cast<long>(row) * columns;
  const float factor = norm.weight ? norm_factor(from, columns, norm.epsilon) : 1;
  T* to = out + static_cast<long>(blockIdx.x) * stride;
  for (int i = threadIdx.x; i < stride; i += kThreads) {
    float value = 0;
    if (i < columns) value = norm.weight ? from[i] * factor * norm.weight[i] : from[i];
    to[i] = Of<T>::from(value);
  }
}

__global__ void add_rows(Norm norm, const float* y, int columns, float factor, float stream_scale,
                         float* x) {
  const long first = static_cast<long>(blockIdx.x) * columns;
  const float of_norm = norm.weight ? norm_factor(y + first, columns, norm.epsilon) : 1;
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    float value = y[first + i];
    if (norm.weight) value = value * of_norm * norm.weight[i];
    x[first + i] = stream_scale * fmaf(factor, value, x[first + i]);
  }
}

template <class T>
__global__ void clear_rows(T* out, int first, int stride) {
  for (int i = first + threadIdx.x; i < stride; i += blockDim.x) {
    out[static_cast<long>(blockIdx.x) * stride + i] = Of<T>::from(0);
  }
}

__global__ void cap_numbers(float* x, long count, float softcap) {
  const long i = static_cast<long>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) x[i] = softcap * tanhf(x[i] / softcap);
}

constexpr int kMostHeadDim = 256;

// A block turns a row: a warp takes one head after another.
template <class T>
__global__ void place_rows(AttentionShape s, const float* qkv, const int* positions,
                           const int* slots, T* q, T* keys, T* values) {
  __shared__ float heads[kThreads / 32][kMostHeadDim];
  const int row = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int d = s.head_dim, position = positions[row], slot = slots[row];
  const float* of_row = qkv + static_cast<long>(row) * s.columns();
  float whole[2] = {1, 1};
  if (s.norm_spans_heads) {
    if (s.query_norm.weight) whole[0] = norm_factor(of_row, s.heads * d, s.query_norm.epsilon);
    if (s.key_norm.weight) {
      whole[1] = norm_factor(of_row + s.query_columns(), s.kv_heads * d, s.key_norm.epsilon);
    }
  }
  const long block = slot / kBlockTokens;
  const int token = slot % kBlockTokens;
  for (int head = warp; head < s.heads + 2 * s.kv_heads; head += kThreads / 32) {
    const float* from = head < s.heads ? of_row + (s.gated ? 2 : 1) * head * d
                                       : of_row + s.query_columns() + (head - s.heads) * d;
    const int kv_head = head - s.heads - s.kv_heads;
    if (kv_head >= 0) {  // a value
      T* to = values + ((block * s.kv_heads + kv_head) * d) * kBlockTokens + token;
      for (int i = lane; i < d; i += 32) to[i * kBlockTokens] = Of<T>::from(from[i]);
      continue;
    }
    const bool is_key = head >= s.heads;
    const Norm& norm = is_key ? s.key_norm : s.query_norm;
    const int own = is_key ? head - s.heads : head;
    float factor = whole[is_key];
    if (norm.weight && !s.norm_spans_heads) {
      float squares = 0;
      for (int i = lane; i < d; i += 32) squares = fmaf(from[i], from[i], squares);
      factor = rsqrtf(sum_of_warp(squares) / static_cast<float>(d) + norm.epsilon);
    }
    const int first_weight = s.norm_spans_heads ? own * d : 0;
    for (int i = lane; i < d; i += 32) {
      heads[warp][i] = norm.weight ? from[i] * factor * norm.weight[first_weight + i] : from[i];
    }
    __syncwarp();
    float on_query = 1;
    if (!is_key && s.temperature_beta != 0) {
      on_query +=
          s.temperature_beta * logf(1 + static_cast<float>(position / s.temperature_length));
    }
    T* to = is_key ? keys + ((block * s.kv_heads + own) * kBlockTokens + token) * d
                   : q + (static_cast<long>(row) * s.heads + head) * d;
    const int pairs = s.rotated / 2;
    for (int i = lane; i < pairs; i += 32) {
      const int a = s.interleaved ? 2 * i : i, b = s.interleaved ? 2 * i + 1 : i + pairs;
      float sine, cosine;
      sincosf(static_cast<float>(position) * s.frequencies[i], &sine, &cosine);
      const float x = heads[warp][a] * s.rope_magnitude, y = heads[warp][b] * s.rope_magnitude;
      to[a] = Of<T>::from((x * cosine - y * sine) * on_query);
      to[b] = Of<T>::from((y * cosine + x * sine) * on_query);
    }
    for (int i = s.rotated + lane; i < d; i += 32) {
      to[i] = Of<T>::from(heads[warp][i] * on_query);
    }
    __syncwarp();
  }
}

}  // namespace

void embed(Element element, const DeviceMatrix& table, const int* tokens, int rows, float scale,
           float* x, cudaStream_t stream) {
  if (element == Element::f16) return embed_as<__half>(table, tokens, rows, scale, x, stream);
  embed_as<__nv_bfloat16>(table, tokens, rows, scale, x, stream);
}

void normalise(Element element, const Norm& norm, const float* x, int columns, const int* rows_of,
               int rows, void* out16, int stride, cudaStream_t stream) {
  const auto launch = [&]<class T>(T* out) {
    normalise_rows<<<rows, kThreads, 0, stream>>>(norm, x, columns, rows_of, out, stride);
  };
  if (element == Element::f16) return launch(static_cast<__half*>(out16));
  launch(static_cast<__nv_bfloat16*>(out16));
}

void add_normalised(const Norm& norm, const float* y, int columns, int rows, float factor,
                    float stream_scale, float* x, cudaStream_t stream) {
  add_rows<<<rows, kThreads, 0, stream>>>(norm, y, columns, factor, stream_scale, x);
}

void cap(float* x, long count, float softcap, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  cap_numbers<<<blocks, kThreads, 0, stream>>>(x, count, softcap);
}

void clear_columns(Element element, void* out16, int first, int stride, int rows,
                   cudaStream_t stream) {
  if (first >= stride) return;
  const auto launch = [&]<class T>(T* out) {
    clear_rows<<<rows, 32, 0, stream>>>(out, first, stride);
  };
  if (element == Element::f16) return launch(static_cast<__half*>(out16));
  launch(static_cast<__nv_bfloat16*>(out16));
}

void place_heads(Element element, const AttentionShape& shape, const float* qkv,
                 const int* positions, const int* slots, int rows, void* q16, const KvCache& cache,
                 cudaStream_t stream) {
  const auto launch = [&]<class T>(T* q) {
    place_rows<<<rows, kThreads, 0, stream>>>(shape, qkv, positions, slots, q,
                                              static_cast<T*>(cache.keys),
                                              static_cast<T*>(cache.values));
  };
  if (element == Element::f16) return launch(static_cast<__half*>(q16));
  launch(static_cast<__nv_bfloat16*>(q16));
}

}  // namespace mlxd::cuda_backend
