#pragma once

#include <cstdint>
#include <string_view>

#include "backend/cpu/kv_cache.h"

namespace mlxd::cpu {

// Tokens whose scores are computed, exponentiated and weighed together: the unit in which a row
// folds its context. Boundaries are at multiples of it, whatever the row or the step.
inline constexpr int kPartition = 64;
inline constexpr int kPartitionTiles = kPartition / kKeyTile;

// Some query heads (of one KV head, of one or more rows) against one partition of the context.
struct PartitionQuery {
  // Tiles of the cache; those that no query sees are not read, and may be null.
  const std::uint8_t* keys[kPartitionTiles] = {};
  const std::uint8_t* values[kPartitionTiles] = {};
  // Tiles that will be read next, to be fetched meanwhile; null where there are none. A cache's
  // tiles of one head lie far apart, so that the processor does not see them coming.
  const std::uint8_t* next_keys[kPartitionTiles] = {};
  const std::uint8_t* next_values[kPartitionTiles] = {};
  int head_dim = 0;  // of keys
  // The same; or less, and values are the first numbers of keys, which store_value has put there
  // (KvShape::values_in_keys).
  int value_dim = 0;
  float softcap = 0;  // 0: none

  int queries = 0;
  const float* const* query = nullptr;  // [queries] -> [head_dim], scaled
  const int* first = nullptr;           // [queries]: tokens [first, end) of the partition are
  const int* end = nullptr;             // visible; none where end <= first
  float* scores = nullptr;              // [queries, kPartition], scratch

  float* maxima = nullptr;  // [queries]: highest score; unspecified where nothing is visible
  float* sums = nullptr;    // [queries]: sum of exp(score - maximum), 0 where nothing is visible
  float* out = nullptr;     // [queries, value_dim]: sum of exp(score - maximum) * value
};

// What depends on how the cache keeps its numbers (KvFormat).
struct KvOps {
  // Into token `slot` (0..15) of a tile, as finite numbers: what is larger than a 16-bit float
  // becomes the largest, and a NaN a number.
  void (*store_key)(const float* key, int head_dim, std::uint8_t* tile, int slot);
  void (*store_value)(const float* value, int head_dim, std::uint8_t* tile, int slot);

  // Online softmax (Milakov & Gimelshein 2018; Dao et al. 2022), one partition at a time.
  void (*attend)(const PartitionQuery& partition);
};

// Some columns of a causal convolution's row.
struct ConvolvedRow {
  const float* const* rows = nullptr;  // [kernel], the oldest first
  const float* weights = nullptr;      // [kernel, stride]
  std::ptrdiff_t stride = 0;
  const float* bias = nullptr;  // [count], or null
  int kernel = 0, count = 0;
  bool silu = false;  // of the sum
  float* out = nullptr;
};

// A block of the columns of one head's state, moved on over rows: of a DeltaNetBlock
// (model_plan.h), or of a Mamba2Block, whose c, b, v and t are query, key, value and beta.
struct StateRows {
  int rows = 0;
  int key_dim = 0;  // a multiple of 16
  int columns = 0;  // 16 or 32
  // Of the first row; the others follow at these distances.
  const float *query = nullptr, *key = nullptr;  // [key_dim], normed
  const float* value = nullptr;                  // [columns]
  std::ptrdiff_t stride = 0;
  const float *decay = nullptr, *beta = nullptr;  // a number each
  std::ptrdiff_t factor_stride = 0;
  float skip = 0;          // of a Mamba2Block
  float* state = nullptr;  // [key_dim, columns]
  float* out = nullptr;    // [columns]
  std::ptrdiff_t out_stride = 0;
};

// What the forward pass computes besides matrix products, for one instruction set. All functions
// are pure and reentrant, and what they compute for one row does not depend on the others of a
// call. Counts are multiples of 16 unless said otherwise; nothing need be aligned.
struct VectorOps {
  std::string_view name;

  void (*add)(float* x, const float* y, int count);               // x += y; any count
  void (*scale)(float* x, float factor, int count);               // x *= factor
  void (*softcap)(float* x, float cap, int count);                // cap * tanh(x / cap); any count
  void (*silu_gate)(float* gate, const float* up, int count);     // gate = silu(gate) * up
  void (*gelu_gate)(float* gate, const float* up, int count);     // gate = gelu_tanh(gate) * up
  void (*clamped_gate)(float* gate, const float* up, int count);  // gate = clamped_swiglu(gate, up)
  // out = x / sqrt(mean(x^2) + epsilon) * weight; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int count, float* out);
  void (*sigmoid_gate)(float* x, const float* gate, int count);  // x *= sigmoid(gate)
  void (*multiply)(float* x, const float* y, int count);         // x *= y
  void (*squared_relu)(float* x, int count);                     // x = max(x, 0)^2
  void (*convolve)(const ConvolvedRow& row);
  void (*delta_rule)(const StateRows& rows);
  void (*scan)(const StateRows& rows);  // of a Mamba2Block
  // out = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias; out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float epsilon,
                     int count, float* out);
  void (*gelu)(float* x, int count);  // the exact one: x / 2 * (1 + erf(x / sqrt(2)))
  // Turns pairs (x[i], x[i + half]), i < half (any count), by angles of these cosines and sines.
  void (*rotate)(float* x, const float* cosines, const float* sines, int half);

  KvOps half, int8;
  // Folds the result of the next partition into (maximum, sum, out) of those before.
  void (*fold)(float* maximum, float* sum, float* out, float next_maximum, float next_sum,
               const float* next_out, int value_dim);

  const KvOps& kv(KvFormat format) const { return format == KvFormat::int8 ? int8 : half; }
};

// The functions that go with the kernels of that name (Kernels::name).
const VectorOps& find_vector_ops(std::string_view kernels_name);

// One per file; those of another architecture are not built.
const VectorOps& portable_vector_ops();
const VectorOps& avx2_vector_ops();
const VectorOps& avx512_vector_ops();
const VectorOps& neon_vector_ops();

}  // namespace mlxd::cpu
