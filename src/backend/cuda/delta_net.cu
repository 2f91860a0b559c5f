#include "backend/cuda/block_limits.h"
#include "backend/cuda/delta_net_kernels.h"
#include "backend/cuda/element.cuh"
#include "backend/cuda/row_sums.cuh"

namespace mlxd::cuda_backend {
namespace {

constexpr int kWarps = 8;
constexpr int kMostHeadDim = 256;

__device__ float silu(float x) { return x / (1 + expf(-x)); }

// A channel of a sequence's row, counted from its first in this step: those before it are in the
// state, or zeros.
__device__ float input_at(const DeltaNetShape& s, const StateSequence& sequence,
                          const LayerStates& states, const float* in, int stride, int row,
                          int channel) {
  if (row >= 0) return in[static_cast<long>(sequence.first_row + row) * stride + channel];
  if (sequence.state < 0) return 0;
  const float* kept = states.first + static_cast<std::size_t>(sequence.state) * states.stride;
  return kept[static_cast<long>(row + s.kernel - 1) * s.channels() + channel];
}

// alpha and beta of a row become the factors that they stand for.
__device__ void weigh(const DeltaNetShape& s, float* factors) {
  for (int head = threadIdx.x % 32; head < s.value_heads; head += 32) {
    const float time = factors[head] + s.time_bias[head];
    const float softplus = fmaxf(time, 0.f) + log1pf(expf(-fabsf(time)));
    factors[head] = expf(s.decay[head] * softplus);
    factors[s.value_heads + head] = 1 / (1 + expf(-factors[s.value_heads + head]));
  }
}

// A warp has the channels of a head of q, k or v, or the factors of a row.
__global__ void convolve_rows(DeltaNetShape s, StateRows step, LayerStates states, const float* in,
                              int stride, float* factors, float* mixed) {
  const int row = blockIdx.x, lane = threadIdx.x % 32;
  const int unit = static_cast<int>(blockIdx.y) * kWarps + threadIdx.x / 32;
  if (unit > 2 * s.key_heads + s.value_heads) return;
  if (unit == 2 * s.key_heads + s.value_heads) {
    return weigh(s, factors + static_cast<long>(row) * 2 * s.value_heads);
  }
  const bool is_value = unit >= 2 * s.key_heads;
  const int keys = 2 * s.key_heads * s.key_dim, width = is_value ? s.value_dim : s.key_dim;
  const int first = is_value ? keys + (unit - 2 * s.key_heads) * s.value_dim : unit * s.key_dim;
  const StateSequence sequence = step.sequences[step.sequence_of[row]];
  const int own = row - sequence.first_row;
  float values[kMostHeadDim / 32], squares = 0;
#pragma unroll
  for (int i = 0; i < kMostHeadDim / 32; ++i) {
    if (lane + 32 * i >= width) break;
    const int channel = first + lane + 32 * i;
    float sum = 0;
    for (int k = 0; k < s.kernel; ++k) {
      const float x = input_at(s, sequence, states, in, stride, own - s.kernel + 1 + k, channel);
      sum = fmaf(x, s.convolution[k * s.channels() + channel], sum);
    }
    values[i] = silu(sum);
    squares = fmaf(values[i], values[i], squares);
  }
  float factor = 1;
  if (!is_value) {
    factor = rsqrtf(sum_of_warp(squares) + 1e-6f);
    if (unit < s.key_heads) factor *= rsqrtf(static_cast<float>(s.key_dim));
  }
  float* const to = mixed + static_cast<long>(row) * s.channels() + first;
#pragma unroll
  for (int i = 0; i < kMostHeadDim / 32; ++i) {
    if (lane + 32 * i >= width) break;
    to[lane + 32 * i] = values[i] * factor;
  }
}

// What the convolution of a later row will see, of one channel. The slot that the sequence goes on
// from last, since what others are given may be read from it.
__device__ void save_convolution(const DeltaNetShape& s, const StateRows& step,
                                 const LayerStates& states, const StateSequence& sequence,
                                 const float* in, int stride, int channel) {
  for (const bool in_place : {false, true}) {
    for (int i = 0; i < sequence.saves; ++i) {
      const SavedState save = step.saves[sequence.first_save + i];
      if ((save.slot == sequence.state) != in_place) continue;
      const int after = save.after_row - sequence.first_row + 1;
      float kept[kMostKernel - 1];
#pragma unroll
      for (int k = 0; k < kMostKernel - 1; ++k) {
        if (k >= s.kernel - 1) break;
        kept[k] = input_at(s, sequence, states, in, stride, after - s.kernel + 1 + k, channel);
      }
      float* const to = states.first + static_cast<std::size_t>(save.slot) * states.stride;
#pragma unroll
      for (int k = 0; k < kMostKernel - 1; ++k) {
        if (k < s.kernel - 1) to[static_cast<long>(k) * s.channels() + channel] = kept[k];
      }
    }
  }
}

constexpr int kThreads = 128;
constexpr int kColumns = kThreads / 4;  // of a state, that a block has: four threads each
constexpr int kStaged = 8;              // rows of the step

template <int kKeyDim>
struct Staged {
  float query[kStaged][kKeyDim], key[kStaged][kKeyDim];
  float value[kStaged][kColumns], decay[kStaged], beta[kStaged];
};

__device__ float sum_of_four(float value) {
  value += __shfl_xor_sync(~0u, value, 1);
  return value + __shfl_xor_sync(~0u, value, 2);
}

// A block takes kColumns columns of a head's state through all rows of a sequence; they do not know
// each other. A thread has, of one column, the rows 16 j + 4 part + 0 to 3.
template <int kKeyDim>
__global__ void __launch_bounds__(kThreads)
    advance_heads(DeltaNetShape s, StateRows step, LayerStates states, const float* in, int stride,
                  const float* mixed, const float* factors, float* out) {
  __shared__ __align__(16) Staged<kKeyDim> staged;
  const StateSequence sequence = step.sequences[blockIdx.y];
  const int groups = (s.value_dim + kColumns - 1) / kColumns, work = groups * s.value_heads;
  if (blockIdx.x >= work) {
    const int channel = (static_cast<int>(blockIdx.x) - work) * kThreads + threadIdx.x;
    if (channel < s.channels()) {
      save_convolution(s, step, states, sequence, in, stride, channel);
    }
    return;
  }
  const int head = blockIdx.x / groups, first_column = blockIdx.x % groups * kColumns;
  const int own = threadIdx.x / 4, part = threadIdx.x % 4, column = first_column + own;
  const bool there = column < s.value_dim;
  const int key_head = s.tiled ? head % s.key_heads : head / (s.value_heads / s.key_heads);
  const float* const query_of = mixed + key_head * s.key_dim;
  const float* const key_of = query_of + s.key_heads * s.key_dim;
  const float* const value_of = mixed + 2 * s.key_heads * s.key_dim + head * s.value_dim;

  const auto slot_at = [&](int slot) {
    return states.first + static_cast<std::size_t>(slot) * states.stride +
           static_cast<long>(s.kernel - 1) * s.channels() +
           static_cast<long>(head) * s.key_dim * s.value_dim + column;
  };
  constexpr int kOwned = kKeyDim / 4;
  float state[kOwned];
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    const int row = i / 4 * 16 + 4 * part + i % 4;
    state[i] = there && sequence.state >= 0
                   ? slot_at(sequence.state)[static_cast<long>(row) * s.value_dim]
                   : 0.f;
  }
  int save = 0;
  for (int done = 0; done < sequence.rows; done += kStaged) {
    const int count = min(kStaged, sequence.rows - done);
    const long first = sequence.first_row + done;
    __syncthreads();
    for (int i = threadIdx.x; i < count * kKeyDim; i += kThreads) {
      const int r = i / kKeyDim, k = i % kKeyDim;
      staged.query[r][k] = query_of[(first + r) * s.channels() + k];
      staged.key[r][k] = key_of[(first + r) * s.channels() + k];
    }
    for (int i = threadIdx.x; i < count * kColumns; i += kThreads) {
      const int r = i / kColumns, c = first_column + i % kColumns;
      staged.value[r][i % kColumns] =
          c < s.value_dim ? value_of[(first + r) * s.channels() + c] : 0.f;
    }
    if (threadIdx.x < count) {
      const float* of_row = factors + (first + threadIdx.x) * 2 * s.value_heads + head;
      staged.decay[threadIdx.x] = of_row[0];
      staged.beta[threadIdx.x] = of_row[s.value_heads];
    }
    __syncthreads();
    for (int r = 0; r < count; ++r) {
      const auto* keys = reinterpret_cast<const float4*>(staged.key[r]);
      const auto* queries = reinterpret_cast<const float4*>(staged.query[r]);
      const float decay = staged.decay[r];
      float known[4] = {};
#pragma unroll
      for (int j = 0; j < kOwned / 4; ++j) {
        const float4 k = keys[4 * j + part];
        known[0] = fmaf(state[4 * j], k.x, known[0]);
        known[1] = fmaf(state[4 * j + 1], k.y, known[1]);
        known[2] = fmaf(state[4 * j + 2], k.z, known[2]);
        known[3] = fmaf(state[4 * j + 3], k.w, known[3]);
      }
      const float recalled = sum_of_four((known[0] + known[1]) + (known[2] + known[3]));
      const float delta = (staged.value[r][own] - decay * recalled) * staged.beta[r];
      float read[4] = {};
#pragma unroll
      for (int j = 0; j < kOwned / 4; ++j) {
        const float4 k = keys[4 * j + part], q = queries[4 * j + part];
        state[4 * j] = fmaf(state[4 * j], decay, k.x * delta);
        state[4 * j + 1] = fmaf(state[4 * j + 1], decay, k.y * delta);
        state[4 * j + 2] = fmaf(state[4 * j + 2], decay, k.z * delta);
        state[4 * j + 3] = fmaf(state[4 * j + 3], decay, k.w * delta);
        read[0] = fmaf(state[4 * j], q.x, read[0]);
        read[1] = fmaf(state[4 * j + 1], q.y, read[1]);
        read[2] = fmaf(state[4 * j + 2], q.z, read[2]);
        read[3] = fmaf(state[4 * j + 3], q.w, read[3]);
      }
      const float sum = sum_of_four((read[0] + read[1]) + (read[2] + read[3]));
      if (there && part == 0) {
        out[(first + r) * s.values() + head * s.value_dim + column] = sum;
      }
      if (save == sequence.saves) continue;
      const SavedState wanted = step.saves[sequence.first_save + save];
      if (wanted.after_row != first + r) continue;
      ++save;
      if (!there) continue;
#pragma unroll
      for (int i = 0; i < kOwned; ++i) {
        const int row = i / 4 * 16 + 4 * part + i % 4;
        slot_at(wanted.slot)[static_cast<long>(row) * s.value_dim] = state[i];
      }
    }
  }
}

template <class T>
__global__ void gate_rows(DeltaNetShape s, const float* in, int stride, const float* from, T* out,
                          int out_stride) {
  const int row = blockIdx.x, lane = threadIdx.x % 32;
  const int head = static_cast<int>(blockIdx.y) * kWarps + threadIdx.x / 32;
  if (head >= s.value_heads) return;
  const float* const values = from + static_cast<long>(row) * s.values() + head * s.value_dim;
  const float* const gate =
      in + static_cast<long>(row) * stride + s.channels() + head * s.value_dim;
  float squares = 0;
  for (int i = lane; i < s.value_dim; i += 32) squares = fmaf(values[i], values[i], squares);
  const float factor =
      rsqrtf(sum_of_warp(squares) / static_cast<float>(s.value_dim) + s.norm.epsilon);
  T* const to = out + static_cast<long>(row) * out_stride + head * s.value_dim;
  for (int i = lane; i < s.value_dim; i += 32) {
    to[i] = Of<T>::from(values[i] * factor * s.norm.weight[i] * silu(gate[i]));
  }
}

}  // namespace

void convolve(const DeltaNetShape& shape, const StateRows& step, const LayerStates& states,
              const float* in, int stride, int rows, float* factors, float* mixed,
              cudaStream_t stream) {
  const int units = 2 * shape.key_heads + shape.value_heads + 1;
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>((units + kWarps - 1) / kWarps));
  convolve_rows<<<grid, kWarps * 32, 0, stream>>>(shape, step, states, in, stride, factors, mixed);
}

void advance_states(const DeltaNetShape& shape, const StateRows& step, const LayerStates& states,
                    const float* in, int stride, const float* mixed, const float* factors,
                    float* out, cudaStream_t stream) {
  const int groups = (shape.value_dim + kColumns - 1) / kColumns;
  const int blocks = groups * shape.value_heads + (shape.channels() + kThreads - 1) / kThreads;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(step.count));
  const auto launch = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, stream>>>(shape, step, states, in, stride, mixed, factors, out);
  };
  switch (shape.key_dim) {
    case 16:
      return launch(advance_heads<16>);
    case 32:
      return launch(advance_heads<32>);
    case 64:
      return launch(advance_heads<64>);
    case 128:
      return launch(advance_heads<128>);
    case 256:
      return launch(advance_heads<256>);
  }
}

void gate_heads(Element element, const DeltaNetShape& shape, const float* in, int stride,
                const float* from, int rows, void* out16, int out_stride, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>((shape.value_heads + kWarps - 1) / kWarps));
  const auto launch = [&]<class T>(T* out) {
    gate_rows<<<grid, kWarps * 32, 0, stream>>>(shape, in, stride, from, out, out_stride);
  };
  if (element == Element::f16) return launch(static_cast<__half*>(out16));
  launch(static_cast<__nv_bfloat16*>(out16));
}

}  // namespace mlxd::cuda_backend
