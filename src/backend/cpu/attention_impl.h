// KvOps in terms of Simd: what a cache holds, and attention over a partition of it. As
// vector_ops_impl.h, for the instruction set of the file that includes it.
#pragma once

#include "backend/cpu/vector_math_impl.h"
#include "backend/cpu/vector_ops.h"

namespace mlxd::cpu {
namespace {

// max and min return their second operand for a NaN: what is stored is finite.
Simd finite_half(Simd x) {
  constexpr float kLargestHalf = 65504;
  return Simd::min(Simd::max(x, Simd::set(-kLargestHalf)), Simd::set(kLargestHalf));
}

constexpr int kCacheLine = 64;

// Whether a cache line begins within bytes [begin, begin + count) of a tile, and the first that
// does.
[[maybe_unused]] bool has_line(int begin, int count) {
  return (kCacheLine - begin % kCacheLine) % kCacheLine < count;
}
[[maybe_unused]] int first_line(int begin) {
  return (begin + kCacheLine - 1) / kCacheLine * kCacheLine;
}

// Into the level-2 cache: with what is computed meanwhile they would be too many for the first.
[[maybe_unused]] void fetch_line(const std::uint8_t* tile, int byte) {
  if (tile != nullptr) __builtin_prefetch(tile + byte, 0, 2);
}

// What a tile of the cache holds (kv_cache.h), as 16-bit floats.
struct HalfKv {
  using Number = std::uint16_t;

  // Number d of the keys of a tile's 16 tokens.
  static Simd key(const std::uint8_t* tile, int /*head_dim*/, int d) {
    return Simd::load_half(reinterpret_cast<const Number*>(tile) + d * kKeyTile);
  }
  // Numbers d .. d + 15 of a token's value.
  static Simd value(const std::uint8_t* tile, int head_dim, int token, int d) {
    return Simd::load_half(reinterpret_cast<const Number*>(tile) + token * head_dim + d);
  }

  // A tile's bytes for each number of its keys, and for each token of its values.
  static int key_bytes(int /*head_dim*/) { return kKeyTile * 2; }
  static int value_bytes(int head_dim) { return head_dim * 2; }

  static void store_key(const float* key, int head_dim, std::uint8_t* tile, int slot) {
    auto* numbers = reinterpret_cast<Number*>(tile);
    Number halves[kLanes];
    for (int d = 0; d < head_dim; d += kLanes) {
      finite_half(Simd::load(key + d)).store_half(halves);
      for (int i = 0; i < kLanes; ++i) numbers[(d + i) * kKeyTile + slot] = halves[i];
    }
  }
  static void store_value(const float* value, int head_dim, std::uint8_t* tile, int slot) {
    auto* to = reinterpret_cast<Number*>(tile) + slot * head_dim;
    for (int d = 0; d < head_dim; d += kLanes) {
      finite_half(Simd::load(value + d)).store_half(to + d);
    }
  }
};

// The same as 8-bit integers with a scale for each group of kKvGroup numbers.
struct Int8Kv {
  using Number = std::int8_t;

  static Simd key(const std::uint8_t* tile, int head_dim, int d) {
    const float* scales = scales_of(tile, head_dim) + d / kKvGroup * kKeyTile;
    return Simd::load_int8(reinterpret_cast<const Number*>(tile) + d * kKeyTile) *
           Simd::load(scales);
  }
  static Simd value(const std::uint8_t* tile, int head_dim, int token, int d) {
    const float* scales = scales_of(tile, head_dim) + token * kv_groups(head_dim);
    return Simd::load_int8(reinterpret_cast<const Number*>(tile) + token * head_dim + d) *
           Simd::set(scales[d / kKvGroup]);
  }

  // With their share of the scales, which follow all numbers: fetched in this order, a tile is
  // whole.
  static int key_bytes(int head_dim) { return value_bytes(head_dim) * kKeyTile / head_dim; }
  static int value_bytes(int head_dim) {
    return head_dim + kv_groups(head_dim) * static_cast<int>(sizeof(float));
  }

  static void store_key(const float* key, int head_dim, std::uint8_t* tile, int slot) {
    for (int d = 0; d < head_dim; d += kKvGroup) {
      store(key + d, least(kKvGroup, head_dim - d),
            reinterpret_cast<Number*>(tile) + d * kKeyTile + slot, kKeyTile,
            scales_of(tile, head_dim) + d / kKvGroup * kKeyTile + slot);
    }
  }
  static void store_value(const float* value, int head_dim, std::uint8_t* tile, int slot) {
    for (int d = 0; d < head_dim; d += kKvGroup) {
      store(value + d, least(kKvGroup, head_dim - d),
            reinterpret_cast<Number*>(tile) + slot * head_dim + d, 1,
            scales_of(tile, head_dim) + slot * kv_groups(head_dim) + d / kKvGroup);
    }
  }

 private:
  static const float* scales_of(const std::uint8_t* tile, int head_dim) {
    return reinterpret_cast<const float*>(tile + kKeyTile * head_dim);
  }
  static float* scales_of(std::uint8_t* tile, int head_dim) {
    return reinterpret_cast<float*>(tile + kKeyTile * head_dim);
  }

  static void store(const float* values, int count, Number* to, int stride, float* scale) {
    Simd highest = Simd::set(0);
    for (int i = 0; i < count; i += kLanes) {
      const Simd x = finite_half(Simd::load(values + i));
      highest = Simd::max(highest, Simd::max(x, Simd::set(0) - x));
    }
    const float maximum = highest.highest();
    *scale = maximum / 127;
    const Simd inverse = Simd::set(maximum > 0 ? 127 / maximum : 0);
    float lanes[kLanes];
    for (int i = 0; i < count; i += kLanes) {
      (finite_half(Simd::load(values + i)) * inverse).rounded().store(lanes);
      for (int lane = 0; lane < kLanes; ++lane) {
        to[(i + lane) * stride] = static_cast<Number>(lanes[lane]);
      }
    }
  }
};

// scores[q, token] = query[q] . key[token] for Tiles * 16 tokens from tile `tile` on and Queries
// queries from `first` on, summed over d in ascending order whatever the block's size.
template <class Kv, int Tiles, int Queries>
void score_block(const PartitionQuery& p, int tile, int first) {
  Simd sum[Queries][Tiles];
  const float* query[Queries];
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
    query[q] = p.query[first + q];
#pragma GCC unroll 8
    for (int t = 0; t < Tiles; ++t) sum[q][t] = Simd::set(0);
  }
  const int key_bytes = Kv::key_bytes(p.head_dim);
  for (int d = 0; d < p.head_dim; ++d) {
    if (first == 0 && has_line(d * key_bytes, key_bytes)) {
#pragma GCC unroll 8
      for (int t = 0; t < Tiles; ++t) fetch_line(p.next_keys[tile + t], first_line(d * key_bytes));
    }
    Simd key[Tiles];
#pragma GCC unroll 8
    for (int t = 0; t < Tiles; ++t) {
      key[t] = Kv::key(p.keys[tile + t], p.head_dim, d);
    }
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) {
      const Simd factor = Simd::set(query[q][d]);
#pragma GCC unroll 8
      for (int t = 0; t < Tiles; ++t) sum[q][t] = Simd::fma(factor, key[t], sum[q][t]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
#pragma GCC unroll 8
    for (int t = 0; t < Tiles; ++t) {
      sum[q][t].store(p.scores + (first + q) * kPartition + (tile + t) * kKeyTile);
    }
  }
}

// out[q, d] = sum over tokens [begin, end) of scores[q, token] * value[token, d] for Chunks * 16
// numbers from `d` on, in ascending order of tokens. Tokens that a query does not see have weight
// 0 and change nothing, so that the range may be that of the whole block.
template <class Kv, int Chunks, int Queries>
void weigh_block(const PartitionQuery& p, int d, int first, int begin, int end) {
  Simd sum[Queries][Chunks];
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) sum[q][c] = Simd::set(0);
  }
  const float* weights = p.scores + first * kPartition;
  const int value_bytes = Kv::value_bytes(p.head_dim);
  const int from = d * value_bytes / p.head_dim;
  const int to = (d + Chunks * kLanes) * value_bytes / p.head_dim;
  for (int token = begin; token < end; ++token) {
    const std::uint8_t* tile = p.values[token / kKeyTile];
    if (first == 0) {
      const int at = token % kKeyTile * value_bytes;
      for (int line = first_line(at + from); line < at + to; line += kCacheLine) {
        fetch_line(p.next_values[token / kKeyTile], line);
      }
    }
    Simd value[Chunks];
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) {
      value[c] = Kv::value(tile, p.head_dim, token % kKeyTile, d + c * kLanes);
    }
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) {
      const Simd weight = Simd::set(weights[q * kPartition + token]);
#pragma GCC unroll 8
      for (int c = 0; c < Chunks; ++c) sum[q][c] = Simd::fma(weight, value[c], sum[q][c]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) {
      sum[q][c].store(p.out + (first + q) * p.value_dim + d + c * kLanes);
    }
  }
}

// Calls block<Size, Queries> for the number of queries at hand.
template <class Kv, int Size, int Queries = Simd::kMaxQueries>
void score_queries(const PartitionQuery& p, int tile, int first, int count) {
  if constexpr (Queries > 1) {
    if (count < Queries) return score_queries<Kv, Size, Queries - 1>(p, tile, first, count);
  }
  score_block<Kv, Size, Queries>(p, tile, first);
}

template <class Kv, int Size, int Queries = Simd::kMaxQueries>
void weigh_queries(const PartitionQuery& p, int d, int first, int count, int begin, int end) {
  if constexpr (Queries > 1) {
    if (count < Queries)
      return weigh_queries<Kv, Size, Queries - 1>(p, d, first, count, begin, end);
  }
  weigh_block<Kv, Size, Queries>(p, d, first, begin, end);
}

template <class Kv, int Tiles = Simd::kMaxTiles>
void score_tiles(const PartitionQuery& p, int tile, int end_tile, int first, int count) {
  for (; tile + Tiles <= end_tile; tile += Tiles) score_queries<Kv, Tiles>(p, tile, first, count);
  if constexpr (Tiles > 1) score_tiles<Kv, Tiles / 2>(p, tile, end_tile, first, count);
}

template <class Kv, int Chunks = Simd::kMaxChunks>
void weigh_chunks(const PartitionQuery& p, int d, int first, int count, int begin, int end) {
  for (; d + Chunks * kLanes <= p.value_dim; d += Chunks * kLanes) {
    weigh_queries<Kv, Chunks>(p, d, first, count, begin, end);
  }
  if constexpr (Chunks > 1) weigh_chunks<Kv, Chunks / 2>(p, d, first, count, begin, end);
}

// The same scores where keys lie token by token: lanes are a key's numbers, and summed at the end.
template <class Kv, int Tokens, int Queries>
void score_tokens(const PartitionQuery& p, int token, int first) {
  Simd sum[Queries][Tokens];
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
#pragma GCC unroll 8
    for (int t = 0; t < Tokens; ++t) sum[q][t] = Simd::set(0);
  }
  const std::uint8_t* const tile = p.keys[token / kKeyTile];
  for (int d = 0; d < p.head_dim; d += kLanes) {
    Simd key[Tokens];
#pragma GCC unroll 8
    for (int t = 0; t < Tokens; ++t) {
      key[t] = Kv::value(tile, p.head_dim, token % kKeyTile + t, d);
    }
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) {
      const Simd factor = Simd::load(p.query[first + q] + d);
#pragma GCC unroll 8
      for (int t = 0; t < Tokens; ++t) sum[q][t] = Simd::fma(factor, key[t], sum[q][t]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Queries; ++q) {
#pragma GCC unroll 8
    for (int t = 0; t < Tokens; ++t) {
      p.scores[(first + q) * kPartition + token + t] = sum[q][t].sum();
    }
  }
}

template <class Kv, int Queries = Simd::kMaxQueries>
void score_latents(const PartitionQuery& p, int first_tile, int end_tile, int first, int count) {
  if constexpr (Queries > 1) {
    if (count < Queries) {
      return score_latents<Kv, Queries - 1>(p, first_tile, end_tile, first, count);
    }
  }
  for (int token = first_tile * kKeyTile; token < end_tile * kKeyTile; token += Simd::kMaxTiles) {
    score_tokens<Kv, Simd::kMaxTiles, Queries>(p, token, first);
  }
}

// Scores of one query in tiles [first_tile, end_tile) to weights exp(score - highest), 0 for tokens
// that it does not see. It sees none outside of these tiles.
void soften(const PartitionQuery& p, int query, int first_tile, int end_tile) {
  float* scores = p.scores + query * kPartition;
  const int first = p.first[query], end = p.end[query];
  const Simd hidden = Simd::set(-__builtin_inff()), zero = Simd::set(0);
  Simd highest = hidden;
  for (int t = first_tile; t < end_tile; ++t) {
    Simd score = Simd::load(scores + t * kKeyTile);
    if (p.softcap != 0) score = soft_capped(score, Simd::set(p.softcap));
    score = score.keep(first - t * kKeyTile, end - t * kKeyTile, hidden);
    score.store(scores + t * kKeyTile);
    highest = Simd::max(highest, score);
  }
  p.maxima[query] = highest.highest();
  const Simd maximum = Simd::set(p.maxima[query]);
  Simd sum = zero;
  for (int t = first_tile; t < end_tile; ++t) {
    Simd weight = exponential(Simd::load(scores + t * kKeyTile) - maximum);
    weight = weight.keep(first - t * kKeyTile, end - t * kKeyTile, zero);
    weight.store(scores + t * kKeyTile);
    sum = sum + weight;
  }
  p.sums[query] = sum.sum();
}

template <class Kv>
void attend(const PartitionQuery& p) {
  for (int first = 0; first < p.queries; first += Simd::kMaxQueries) {
    const int count = least(Simd::kMaxQueries, p.queries - first);
    int begin = kPartition, end = 0;
    for (int q = first; q < first + count; ++q) {
      if (p.end[q] <= p.first[q]) continue;
      begin = least(begin, p.first[q]);
      end = end < p.end[q] ? p.end[q] : end;
    }
    const int first_tile = begin / kKeyTile, end_tile = (end + kKeyTile - 1) / kKeyTile;
    if (first_tile >= end_tile) {
      for (int q = first; q < first + count; ++q) p.sums[q] = 0;
      continue;
    }
    if (p.value_dim < p.head_dim) {
      score_latents<Kv>(p, first_tile, end_tile, first, count);
    } else {
      score_tiles<Kv>(p, first_tile, end_tile, first, count);
    }
    for (int q = first; q < first + count; ++q) soften(p, q, first_tile, end_tile);
    weigh_chunks<Kv>(p, 0, first, count, begin, end);
  }
}

[[maybe_unused]] void fold(float* maximum, float* sum, float* out, float next_maximum,
                           float next_sum, const float* next_out, int value_dim) {
  if (next_sum == 0) return;  // sees nothing of that partition
  if (*sum == 0) {
    *maximum = next_maximum;
    *sum = next_sum;
    for (int d = 0; d < value_dim; d += kLanes) Simd::load(next_out + d).store(out + d);
    return;
  }
  float factor = 1, next_factor = 1;
  if (next_maximum > *maximum) {
    factor = exponential(*maximum - next_maximum);
    *maximum = next_maximum;
  } else {
    next_factor = exponential(next_maximum - *maximum);
  }
  *sum = *sum * factor + next_sum * next_factor;
  const Simd by = Simd::set(factor), next_by = Simd::set(next_factor);
  for (int d = 0; d < value_dim; d += kLanes) {
    Simd::fma(Simd::load(next_out + d), next_by, Simd::load(out + d) * by).store(out + d);
  }
}

template <class Kv>
constexpr KvOps kv_ops() {
  return {.store_key = Kv::store_key, .store_value = Kv::store_value, .attend = attend<Kv>};
}

}  // namespace
}  // namespace mlxd::cpu
