// The kernels, as functions that launch them on a stream. Pointers are to device memory; T rows.
// 16-bit activations have rows of whole units (PackedShape), zeros where columns are missing. None
// of them depends on anything but its own row in what it computes for a row.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/packed.h"

namespace mlxd::cuda_backend {

struct DeviceMatrix {
  PackedShape shape;
  const void* codes = nullptr;
  const void* scales = nullptr;
};

// What becomes of a product y [T, rows of the matrix], with `bias` added first where there is one.
struct Epilogue {
  enum Kind {
    store,  // out = y
    add,    // out += factor * y
    gated,  // out16 = activation(gate) * up, of rows that alternate in eights: gate first
    plain,  // out16 = activation(y)
  };
  enum Activation { silu, gelu_tanh, clamped_swiglu, squared_relu };
  Kind kind = store;
  Activation activation = silu;
  const float* bias = nullptr;
  float* out = nullptr;
  void* out16 = nullptr;
  int stride = 0;  // of out or out16
  float factor = 1;
};

// x [T, stride] in Elements.
void multiply(Element element, const DeviceMatrix& matrix, const void* x, int stride, int rows,
              const Epilogue& epilogue, cudaStream_t stream);

// x [T, columns] = scale * table[token]
void embed(Element element, const DeviceMatrix& table, const int* tokens, int rows, float scale,
           float* x, cudaStream_t stream);

struct Norm {
  const float* weight = nullptr;  // null: no norm, the numbers as they are
  float epsilon = 0;
};

// out16 [T, stride] = norm(x [rows_of[t], columns]); `rows_of` null: row t.
void normalise(Element element, const Norm& norm, const float* x, int columns, const int* rows_of,
               int rows, void* out16, int stride, cudaStream_t stream);

// x [T, columns] = stream_scale * (x + factor * norm(y))
void add_normalised(const Norm& norm, const float* y, int columns, int rows, float factor,
                    float stream_scale, float* x, cudaStream_t stream);

// x [count] = softcap * tanh(x / softcap)
void cap(float* x, long count, float softcap, cudaStream_t stream);

// A layer's cache: keys [block][KV head][16][head_dim], values [block][KV head][head_dim][16].
struct KvCache {
  void* keys = nullptr;
  void* values = nullptr;
};

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int rotated = 0;  // dimensions of a head that are turned
  bool interleaved = false;
  float rope_magnitude = 1;
  const float* frequencies = nullptr;  // [rotated / 2]
  Norm query_norm, key_norm;
  bool norm_spans_heads = false;
  float scale = 1, softcap = 0;
  int window = 0;
  // q is multiplied by 1 + beta log(1 + position / length), in whole lengths.
  float temperature_beta = 0;
  int temperature_length = 1;
  const float* sinks = nullptr;  // [heads], as AttentionBlock has them; null: none
  // Of each head those of q and then as many of a gate, by whose sigmoid its output is multiplied.
  bool gated = false;

  __host__ __device__ int query_columns() const { return (gated ? 2 : 1) * heads * head_dim; }
  __host__ __device__ int columns() const { return query_columns() + 2 * kv_heads * head_dim; }
};

// Norms and turns q and k of qkv [T, columns], writes q16 [T, heads head_dim]
// and, at `slots` [T] (block * 16 + token), keys and values.
void place_heads(Element element, const AttentionShape& shape, const float* qkv,
                 const int* positions, const int* slots, int rows, void* q16, const KvCache& cache,
                 cudaStream_t stream);

// Neighbouring rows of one sequence, as many as fit into 16 with their heads of a KV head.
struct QueryTile {
  int row = 0, count = 0;
  int position = 0;  // of the first row
  int table = 0;     // where the sequence's block table begins
};

// Keys of which a row's sums are made before they are joined with those of others, in order.
inline constexpr int kPartKeys = 512;

inline int rows_of_tile(const AttentionShape& shape) { return 16 / (shape.heads / shape.kv_heads); }

// out16 [T, stride]. With `parts` 1 a tile's parts follow one another; otherwise they are computed
// beside one another, and joined from `scratch` [T, heads, parts, head_dim + 2]. The bits are the
// same. `parts` is not less than the step's largest context has. Of qkv it reads gates.
void attend(Element element, const AttentionShape& shape, const float* qkv, const void* q16,
            const KvCache& cache, const QueryTile* tiles, int tile_count, const int* tables,
            const int* positions, int rows, int parts, float* scratch, void* out16, int stride,
            cudaStream_t stream);

// Columns from `first` on become zeros.
void clear_columns(Element element, void* out16, int first, int stride, int rows,
                   cudaStream_t stream);

}  // namespace mlxd::cuda_backend
