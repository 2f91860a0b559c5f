// Attention of prompt rows over a partition of the cache on a matrix unit, a Unit as in
// prompt_driver.h that also provides
//   template <int kTiles> static void row_products(const uint16_t* const* rows, const uint16_t*
//   const*
//       columns, int count, float* out, ptrdiff_t stride): out[16][kTiles * 16] = the sum over i of
//       tile rows[i] times the kTiles tiles that lie at columns[i] one behind the other.
// Scores keep what rounding to bfloat16 takes from queries and keys: each is the sum of two such
// numbers, and of the products of these only that of the two small ones is left out. Weights and
// values are rounded, as the output is before it is multiplied on.
// Included after prompt_driver.h by files compiled for AVX-512 alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/simd_avx512.h"
// The instruction set comes first.
#include "backend/cpu/attention_impl.h"
#include "backend/cpu/prompt_driver.h"

namespace mlxd::cpu {
namespace {

constexpr std::ptrdiff_t kTile = kPromptRows * kGroupColumns;  // numbers of a tile

// A pair's parts: the numbers rounded, and what that has taken from them, rounded.
struct SplitPairs {
  __m512i high, low;
};

[[gnu::always_inline]] inline SplitPairs split_pairs(__m512 first, __m512 second) {
  const __m512i high = pairs_of(first, second);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  const __m512 first_high = _mm512_castsi512_ps(_mm512_slli_epi32(high, 16));
  const __m512 second_high = _mm512_castsi512_ps(_mm512_and_si512(high, upper));
  return {high, pairs_of(_mm512_sub_ps(first, first_high), _mm512_sub_ps(second, second_high))};
}

template <class Unit, class Kv>
class PromptAttention {
 public:
  static void attend(const PartitionQuery& query, bool begins, PromptAttentionScratch& scratch) {
    const typename Unit::Session session;
    PartitionQuery p = query;
    p.scores = scratch.scores;
    if (begins) round_queries(p, scratch);
    int tiles = 0;
    while (tiles < kPartitionTiles && p.keys[tiles] != nullptr) ++tiles;
    round_keys(p, tiles, scratch);
    round_values(p, tiles, scratch);
    // Weights lie for a while before a unit loads them, which it cannot from stores under way.
    for (int first = 0; first < p.queries; first += kPromptRows) {
      score(p, first, scratch);
      if (first > 0) weigh(p, first - kPromptRows, scratch);
      const int end = least(first + kPromptRows, p.queries);
      for (int q = first; q < end; ++q) soften(p, q, 0, kPartitionTiles);
      round_weights(p, first, end, scratch);
    }
    weigh(p, (p.queries - 1) / kPromptRows * kPromptRows, scratch);
  }

 private:
  static int groups_of(const PartitionQuery& p) {
    return (p.head_dim + kGroupColumns - 1) / kGroupColumns;
  }
  // Of queries [first, first + 16): [2 parts][groups], tiles.
  static std::uint16_t* queries_of(PromptAttentionScratch& scratch, int first, int groups) {
    return scratch.queries + first / kPromptRows * 2 * groups * kTile;
  }

  static void round_queries(const PartitionQuery& p, PromptAttentionScratch& scratch) {
    const int groups = groups_of(p);
    for (int q = 0; q < p.queries; ++q) {
      std::uint16_t* high = queries_of(scratch, q, groups) + q % kPromptRows * kGroupColumns;
      for (int d = 0; d < groups * kGroupColumns; d += 16) {
        const __m512 x = d < p.head_dim ? _mm512_loadu_ps(p.query[q] + d) : _mm512_setzero_ps();
        const __m512i bits = rounded_bits(x);
        const __m512 taken = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
        std::uint16_t* const to = high + d / kGroupColumns * kTile + d % kGroupColumns;
        store_narrow(to, bits);
        store_narrow(to + groups * kTile, rounded_bits(taken));
      }
    }
  }

  static void store_narrow(std::uint16_t* to, __m512i bits) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(bits));
  }

  // [2 parts][groups][4 tiles of tokens]: row i of a tile holds numbers 2i and 2i + 1 of 16 keys.
  static void round_keys(const PartitionQuery& p, int tiles, PromptAttentionScratch& scratch) {
    const int groups = groups_of(p);
    const std::ptrdiff_t low = groups * kPartitionTiles * kTile;
    for (int t = 0; t < kPartitionTiles; ++t) {
      for (int d = 0; d < groups * kGroupColumns; d += 2) {
        SplitPairs pairs = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        if (t < tiles && d < p.head_dim) {
          pairs = split_pairs(Kv::key(p.keys[t], p.head_dim, d).v,
                              Kv::key(p.keys[t], p.head_dim, d + 1).v);
        }
        std::uint16_t* const to = scratch.keys + (d / kGroupColumns * kPartitionTiles + t) * kTile +
                                  d % kGroupColumns * kKeyTile;
        _mm512_store_si512(to, pairs.high);
        _mm512_store_si512(to + low, pairs.low);
      }
    }
  }

  // [2 groups of tokens][value_dim / 16]: row i of a tile holds 16 numbers of tokens 2i and 2i + 1.
  static void round_values(const PartitionQuery& p, int tiles, PromptAttentionScratch& scratch) {
    const int chunks = p.value_dim / 16;
    for (int token = 0; token < kPartition; token += 2) {
      const int t = token / kKeyTile, row = token % kGroupColumns / 2;
      std::uint16_t* to =
          scratch.values + token / kGroupColumns * chunks * kTile + row * kGroupColumns;
      for (int d = 0; d < p.value_dim; d += 16, to += kTile) {
        __m512i pairs = _mm512_setzero_si512();
        if (t < tiles) {
          pairs = pairs_of(Kv::value(p.values[t], p.head_dim, token % kKeyTile, d).v,
                           Kv::value(p.values[t], p.head_dim, token % kKeyTile + 1, d).v);
        }
        _mm512_store_si512(to, pairs);
      }
    }
  }

  static void score(const PartitionQuery& p, int first, PromptAttentionScratch& scratch) {
    const int groups = groups_of(p);
    const std::uint16_t* const query = queries_of(scratch, first, groups);
    const std::uint16_t* rows[3 * PromptAttentionScratch::kMostGroups];
    const std::uint16_t* columns[3 * PromptAttentionScratch::kMostGroups];
    int count = 0;
    constexpr int kOfQuery[] = {0, 1, 0}, kOfKey[] = {0, 0, 1};  // the parts that are multiplied
    for (int i = 0; i < 3; ++i) {
      for (int g = 0; g < groups; ++g, ++count) {
        rows[count] = query + (kOfQuery[i] * groups + g) * kTile;
        columns[count] = scratch.keys + (kOfKey[i] * groups + g) * kPartitionTiles * kTile;
      }
    }
    Unit::template row_products<kPartitionTiles>(rows, columns, count,
                                                 scratch.scores + first * kPartition, kPartition);
  }

  // Of queries [first, first + 16): [2 groups of tokens], tiles, of every other 16 in the same
  // place.
  static std::uint16_t* weights_of(PromptAttentionScratch& scratch, int first) {
    return scratch.weights + first / kPromptRows % 2 * 2 * kTile;
  }

  // What rows behind `end` hold does not matter.
  static void round_weights(const PartitionQuery& p, int first, int end,
                            PromptAttentionScratch& scratch) {
    for (int q = first; q < end; ++q) {
      for (int token = 0; token < kPartition; token += 16) {
        const __m512 x = _mm512_loadu_ps(p.scores + q * kPartition + token);
        store_narrow(weights_of(scratch, first) + token / kGroupColumns * kTile +
                         (q - first) * kGroupColumns + token % kGroupColumns,
                     rounded_bits(x));
      }
    }
  }

  static void weigh(const PartitionQuery& p, int first, PromptAttentionScratch& scratch) {
    const int end = least(first + kPromptRows, p.queries);
    const bool whole = end - first == kPromptRows;
    float* const out = p.out + static_cast<std::ptrdiff_t>(first) * p.value_dim;
    float* const to = whole ? out : scratch.rest;
    const int chunks = p.value_dim / 16;
    const std::uint16_t* const weights = weights_of(scratch, first);
    const std::uint16_t* const rows[] = {weights, weights + kTile};
    for (int c = 0; c < chunks;) {
      const std::uint16_t* const columns[] = {scratch.values + c * kTile,
                                              scratch.values + (chunks + c) * kTile};
      if (chunks - c >= 4) {
        Unit::template row_products<4>(rows, columns, 2, to + c * 16, p.value_dim);
        c += 4;
      } else {
        Unit::template row_products<1>(rows, columns, 2, to + c * 16, p.value_dim);
        c += 1;
      }
    }
    if (!whole) __builtin_memcpy(out, to, sizeof(float) * (end - first) * p.value_dim);
  }
};

template <class Unit>
void attend_prompts(const PartitionQuery& partition, KvFormat format, bool begins,
                    PromptAttentionScratch& scratch) {
  if (format == KvFormat::int8) {
    PromptAttention<Unit, Int8Kv>::attend(partition, begins, scratch);
  } else {
    PromptAttention<Unit, HalfKv>::attend(partition, begins, scratch);
  }
}

}  // namespace
}  // namespace mlxd::cpu
