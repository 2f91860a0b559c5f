// Experts on the card: rows choose, pairs of a row and an expert are sorted by expert, products of
// an expert's rows, and what they gave is added up in the order of the row's own choice. No number
// of these comes to the host, so a step's launches depend on its count of rows alone. Pairs: of row
// t and its i-th expert, t * chosen + i; a pair's place is where it is among those sorted.
#pragma once

#include <algorithm>
#include <cstddef>

#include "backend/cuda/block_limits.h"
#include "backend/cuda/kernels.h"

namespace mlxd::cuda_backend {

// out [T, count] = weights [count, columns] x, in 32 bits, + bias; x = norm(from [T, columns]).
void score(const Norm& norm, const float* from, int columns, int rows, const float* weights,
           const float* bias, int count, float* out, cudaStream_t stream);

// ExpertChoice on the card; as there, of each kind.
struct ChoiceRule {
  enum Scoring { softmax, softmax_chosen, sigmoid, sqrt_softplus };
  Scoring scoring = softmax;
  const float* bias = nullptr;           // [experts]; null: none
  const float* expert_scales = nullptr;  // [experts]; null: none
  int experts = 0, chosen = 0, groups = 1, chosen_groups = 1;
  bool groups_by_best = false, normalised = false;
  float scale = 1;
};

// Of one expert the pairs at places [first, first + count).
struct ExpertTile {
  int expert = 0, first = 0, count = 0, unused = 0;
};

struct SortedPairs {
  int* experts = nullptr;       // [pairs]
  float* weights = nullptr;     // [pairs]
  int* places = nullptr;        // [pairs]
  int* rows = nullptr;          // [pairs], by place
  ExpertTile* tiles = nullptr;  // [most_tiles]
  int* tile_count = nullptr;
};

// `memory`: kPairBytes of each and kPairsBytes, at a multiple of 16.
static_assert(kPairBytes == sizeof(ExpertTile) + 4 * sizeof(int));
inline SortedPairs sorted_pairs(void* memory, int count) {
  auto* const tiles = static_cast<ExpertTile*>(memory);
  int* const first = reinterpret_cast<int*>(tiles + count);
  return {.experts = first,
          .weights = reinterpret_cast<float*>(first + count),
          .places = first + 2 * count,
          .rows = first + 3 * count,
          .tiles = tiles,
          .tile_count = first + 4 * count};
}

// Pairs that a tile has at most, as many as experts have on average.
constexpr int tile_width(int pairs, int experts) {
  const int average = pairs / experts;
  return average <= 4 ? 8 : average <= 12 ? 16 : average <= 48 ? 32 : 128;
}
// Tiles of so many pairs, at most.
constexpr int most_tiles(int pairs, int experts) {
  return std::min(pairs, experts + pairs / tile_width(pairs, experts));
}

// scores [T, stride] of each expert. As cpu's choose_experts: of equal ones the lower number.
void choose(const ChoiceRule& rule, const float* scores, int stride, int rows,
            const SortedPairs& pairs, cudaStream_t stream);

// A matrix of each expert, one behind the other, each filled up to whole tiles.
struct ExpertMatrix {
  DeviceMatrix all;
  int experts = 1;
  int rows = 0;  // of one, without what fills it up
};

// y [pairs by place]: of each tile's rows, by its expert's matrix. x [.., stride] at the pair's row
// where `gather`, else at its place. The epilogue's bias is of all experts' rows.
void multiply_experts(Element element, const ExpertMatrix& matrix, const void* x, int stride,
                      bool gather, const SortedPairs& pairs, int pair_count,
                      const Epilogue& epilogue, cudaStream_t stream);

// x [T, columns] = stream_scale * (x + factor * post_norm(experts_norm(sum of weight * y) +
//                  shared_weight * shared_norm(shared)))
struct ExpertSum {
  const float* y = nullptr;       // [pairs by place, columns]
  const float* shared = nullptr;  // [T, columns]; null: none
  // [T, score_stride], of which the number is a row's first; its sigmoid is the weight; null: 1.
  const float* shared_score = nullptr;
  int score_stride = 0;
  Norm experts_norm, shared_norm, post_norm;
  float factor = 1, stream_scale = 1;
};
void add_experts(const ExpertSum& sum, const SortedPairs& pairs, int chosen, int columns, int rows,
                 float* x, cudaStream_t stream);

}  // namespace mlxd::cuda_backend
