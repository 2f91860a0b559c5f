#include "backend/cuda/block_limits.h"
#include "backend/cuda/expert_kernels.h"
#include "backend/cuda/ordered_key.cuh"
#include "backend/cuda/row_sums.cuh"

namespace mlxd::cuda_backend {
namespace {

constexpr int kThreads = kRowThreads;

// A block computes one score of kRows rows.
template <int kRows>
__global__ void score_rows(Norm norm, const float* from, int columns, int rows,
                           const float* weights, const float* bias, int count, float* out) {
  const int which = blockIdx.x, first = static_cast<int>(blockIdx.y) * kRows;
  const float* const w = weights + static_cast<long>(which) * columns;
  float dot[kRows] = {}, squares[kRows] = {};
#pragma unroll 2
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    const float weight = norm.weight ? w[i] * norm.weight[i] : w[i];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (first + r >= rows) continue;
      const float x = from[static_cast<long>(first + r) * columns + i];
      dot[r] = fmaf(x, weight, dot[r]);
      squares[r] = fmaf(x, x, squares[r]);
    }
  }
  __shared__ float sums[2 * kRows][kThreads / 32];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float a = sum_of_warp(dot[r]), b = sum_of_warp(squares[r]);
    if (threadIdx.x % 32 != 0) continue;
    sums[2 * r][threadIdx.x / 32] = a;
    sums[2 * r + 1][threadIdx.x / 32] = b;
  }
  __syncthreads();
  const int r = threadIdx.x;
  if (r >= kRows || first + r >= rows) return;
  float total = 0, total_squares = 0;
  for (int i = 0; i < kThreads / 32; ++i) {
    total += sums[2 * r][i];
    total_squares += sums[2 * r + 1][i];
  }
  if (norm.weight) {
    total *= rsqrtf(total_squares / static_cast<float>(columns) + norm.epsilon);
  }
  out[static_cast<long>(first + r) * count + which] = bias ? total + bias[which] : total;
}

__device__ float most_of_warp(float value) {
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  return value;
}

__device__ float softplus(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }

// Those of a warp's experts that are not better than the others of their groups lose their merits.
__device__ void keep_best_groups(const ChoiceRule& rule, float* merits) {
  const int lane = threadIdx.x % 32, size = rule.experts / rule.groups;
  float best = -INFINITY, second = -INFINITY;
  for (int i = 0; lane < rule.groups && i < size; ++i) {
    const float merit = merits[lane * size + i];
    second = fmaxf(second, fminf(best, merit));
    best = fmaxf(best, merit);
  }
  if (!rule.groups_by_best && size > 1) best += second;
  bool kept = false;
  for (int i = 0; i < rule.chosen_groups; ++i) {
    const bool rival = lane < rule.groups && !kept;
    const std::uint64_t winner = best_of_warp(rival ? ordered_key(best, lane) : 0);
    if (index_of(winner) == lane) kept = true;
  }
  for (int i = 0; lane < rule.groups && !kept && i < size; ++i) merits[lane * size + i] = -INFINITY;
  __syncwarp();
}

// By a warp. `known` and `merits` [experts]: its scratch. Lane i keeps the row's i-th expert.
__device__ void choose_row(const ChoiceRule& rule, const float* scores, float* known, float* merits,
                           int* experts, float* weights) {
  const int lane = threadIdx.x % 32, count = rule.experts;
  float most = -INFINITY;
  for (int e = lane; e < count; e += 32) {
    // A row whose numbers went astray goes anywhere, and hurts none but itself.
    const float score = isfinite(scores[e]) ? scores[e] : 0.f;
    known[e] = score;
    most = fmaxf(most, score);
  }
  if (rule.scoring == ChoiceRule::softmax) {
    most = most_of_warp(most);
    float sum = 0;
    for (int e = lane; e < count; e += 32) sum += known[e] = expf(known[e] - most);
    sum = sum_of_warp(sum);
    for (int e = lane; e < count; e += 32) known[e] /= sum;
  } else if (rule.scoring == ChoiceRule::sigmoid) {
    for (int e = lane; e < count; e += 32) known[e] = 1 / (1 + expf(-known[e]));
  } else if (rule.scoring == ChoiceRule::sqrt_softplus) {
    for (int e = lane; e < count; e += 32) known[e] = sqrtf(softplus(known[e]));
  }
  for (int e = lane; e < count; e += 32) {
    merits[e] = rule.bias ? known[e] + rule.bias[e] : known[e];
  }
  __syncwarp();
  if (rule.chosen_groups < rule.groups) keep_best_groups(rule, merits);

  int expert = 0;
  for (int i = 0; i < rule.chosen; ++i) {
    std::uint64_t best = 0;
    for (int e = lane; e < count; e += 32) {
      const std::uint64_t key = isnan(merits[e]) ? 0 : ordered_key(merits[e], e);
      best = key > best ? key : best;
    }
    const int winner = index_of(best_of_warp(best));
    if (lane == i) expert = winner;
    if (winner % 32 == lane) merits[winner] = NAN;  // taken
  }
  const bool mine = lane < rule.chosen;
  float weight = mine ? known[expert] : 0;
  if (rule.scoring == ChoiceRule::softmax_chosen) {
    const float highest = most_of_warp(mine ? weight : -INFINITY);
    weight = mine ? expf(weight - highest) : 0;
  }
  float sum = 0;
  if (rule.normalised || rule.scoring == ChoiceRule::softmax_chosen) {
    for (int i = 0; i < rule.chosen; ++i) sum += __shfl_sync(~0u, weight, i);
  }
  if (mine) {
    weight *= sum > 0 ? rule.scale / sum : rule.scale;
    if (rule.expert_scales) weight *= rule.expert_scales[expert];
    experts[lane] = expert;
    weights[lane] = weight;
  }
  __syncwarp();
}

// By a block. Which place a pair gets within its expert's is left to chance: nothing depends on it.
__device__ void sort_pairs(const ChoiceRule& rule, int count, int width, const SortedPairs& to) {
  __shared__ int next[kMostExperts], first_tiles[kMostExperts];
  const int lane = threadIdx.x % 32;
  for (int e = threadIdx.x; e < rule.experts; e += blockDim.x) next[e] = 0;
  __syncthreads();
  for (int p = threadIdx.x; p < count; p += blockDim.x) atomicAdd(&next[to.experts[p]], 1);
  __syncthreads();
  if (threadIdx.x < 32) {
    int first = 0, first_tile = 0;
    for (int base = 0; base < rule.experts; base += 32) {
      const int e = base + lane;
      const int own = e < rule.experts ? next[e] : 0, tiles = (own + width - 1) / width;
      int places = own, places_of_tiles = tiles;  // up to this lane
      for (int step = 1; step < 32; step *= 2) {
        const int a = __shfl_up_sync(~0u, places, step);
        const int b = __shfl_up_sync(~0u, places_of_tiles, step);
        if (lane >= step) {
          places += a;
          places_of_tiles += b;
        }
      }
      if (e < rule.experts) {
        next[e] = first + places - own;
        first_tiles[e] = first_tile + places_of_tiles - tiles;
        for (int t = 0; t < tiles; ++t) {
          const ExpertTile tile{e, next[e] + t * width, min(width, own - t * width), 0};
          to.tiles[first_tiles[e] + t] = tile;
        }
      }
      first += __shfl_sync(~0u, places, 31);
      first_tile += __shfl_sync(~0u, places_of_tiles, 31);
    }
    if (lane == 0) *to.tile_count = first_tile;
  }
  __syncthreads();
  for (int p = threadIdx.x; p < count; p += blockDim.x) {
    const int place = atomicAdd(&next[to.experts[p]], 1);
    to.places[p] = place;
    to.rows[place] = p / rule.chosen;
  }
}

constexpr int kChoosingWarps = 8, kSortingThreads = 1024;
// Of so few rows one block does all.
constexpr int kFewRows = 32;

__global__ void choose_rows(ChoiceRule rule, const float* scores, int stride, int rows,
                            bool sort_too, int width, SortedPairs to) {
  extern __shared__ float scratch[];
  float* const own = scratch + threadIdx.x / 32 * 2 * rule.experts;
  const int step = static_cast<int>(gridDim.x) * kChoosingWarps;
  for (int row = blockIdx.x * kChoosingWarps + threadIdx.x / 32; row < rows; row += step) {
    choose_row(rule, scores + static_cast<long>(row) * stride, own, own + rule.experts,
               to.experts + static_cast<long>(row) * rule.chosen,
               to.weights + static_cast<long>(row) * rule.chosen);
  }
  if (!sort_too) return;
  __syncthreads();
  sort_pairs(rule, rows * rule.chosen, width, to);
}

__global__ void sort_all(ChoiceRule rule, int count, int width, SortedPairs to) {
  sort_pairs(rule, count, width, to);
}

// Of a row, what its experts gave.
__device__ float sum_of_experts(const float* y, const SortedPairs& pairs, int row, int chosen,
                                int columns, int column) {
  float sum = 0;
  for (int i = 0; i < chosen; ++i) {
    const long pair = static_cast<long>(row) * chosen + i;
    sum =
        fmaf(pairs.weights[pair], y[static_cast<long>(pairs.places[pair]) * columns + column], sum);
  }
  return sum;
}

__device__ float shared_weight(const ExpertSum& s, int row) {
  if (!s.shared_score) return 1;
  return 1 / (1 + expf(-s.shared_score[static_cast<long>(row) * s.score_stride]));
}

__global__ void add_plain(ExpertSum s, SortedPairs pairs, int chosen, int columns, float* x) {
  const int row = blockIdx.x, column = static_cast<int>(blockIdx.y) * kThreads + threadIdx.x;
  if (column >= columns) return;
  float value = sum_of_experts(s.y, pairs, row, chosen, columns, column);
  const long at = static_cast<long>(row) * columns + column;
  if (s.shared) value = fmaf(shared_weight(s, row), s.shared[at], value);
  x[at] = s.stream_scale * fmaf(s.factor, value, x[at]);
}

__global__ void add_normed(ExpertSum s, SortedPairs pairs, int chosen, int columns, float* x) {
  extern __shared__ float values[];  // [columns]
  const int row = blockIdx.x;
  const long first = static_cast<long>(row) * columns;
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    values[i] = sum_of_experts(s.y, pairs, row, chosen, columns, i);
  }
  // Every thread reads of `values` what it wrote, here and in norm_factor.
  if (s.experts_norm.weight) {
    const float factor = norm_factor(values, columns, s.experts_norm.epsilon);
    for (int i = threadIdx.x; i < columns; i += kThreads) {
      values[i] *= factor * s.experts_norm.weight[i];
    }
  }
  if (s.shared) {
    float weight = shared_weight(s, row);
    const Norm& norm = s.shared_norm;
    if (norm.weight) weight *= norm_factor(s.shared + first, columns, norm.epsilon);
    for (int i = threadIdx.x; i < columns; i += kThreads) {
      const float own = norm.weight ? s.shared[first + i] * norm.weight[i] : s.shared[first + i];
      values[i] = fmaf(weight, own, values[i]);
    }
  }
  const Norm& post = s.post_norm;
  const float factor = post.weight ? norm_factor(values, columns, post.epsilon) : 1;
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    const float value = post.weight ? values[i] * factor * post.weight[i] : values[i];
    x[first + i] = s.stream_scale * fmaf(s.factor, value, x[first + i]);
  }
}

unsigned blocks_of(int count, int of) { return static_cast<unsigned>((count + of - 1) / of); }

}  // namespace

void score(const Norm& norm, const float* from, int columns, int rows, const float* weights,
           const float* bias, int count, float* out, cudaStream_t stream) {
  const auto launch = [&](auto kernel, int of_block) {
    const dim3 grid(static_cast<unsigned>(count), blocks_of(rows, of_block));
    kernel<<<grid, kThreads, 0, stream>>>(norm, from, columns, rows, weights, bias, count, out);
  };
  if (rows <= 4) return launch(score_rows<1>, 1);
  launch(score_rows<8>, 8);
}

void choose(const ChoiceRule& rule, const float* scores, int stride, int rows,
            const SortedPairs& pairs, cudaStream_t stream) {
  const int count = rows * rule.chosen, width = tile_width(count, rule.experts);
  const bool few = rows <= kFewRows;
  const auto scratch = sizeof(float) * 2 * kChoosingWarps * static_cast<unsigned>(rule.experts);
  choose_rows<<<few ? 1 : blocks_of(rows, kChoosingWarps), kChoosingWarps * 32, scratch, stream>>>(
      rule, scores, stride, rows, few, width, pairs);
  if (!few) sort_all<<<1, kSortingThreads, 0, stream>>>(rule, count, width, pairs);
}

void add_experts(const ExpertSum& sum, const SortedPairs& pairs, int chosen, int columns, int rows,
                 float* x, cudaStream_t stream) {
  if (!sum.experts_norm.weight && !sum.shared_norm.weight && !sum.post_norm.weight) {
    const dim3 grid(static_cast<unsigned>(rows), blocks_of(columns, kThreads));
    return add_plain<<<grid, kThreads, 0, stream>>>(sum, pairs, chosen, columns, x);
  }
  add_normed<<<rows, kThreads, sizeof(float) * static_cast<unsigned>(columns), stream>>>(
      sum, pairs, chosen, columns, x);
}

}  // namespace mlxd::cuda_backend
