// Gated delta nets on the card (DeltaNetBlock). Rows go through a state one by one, in prompts too,
// in 32 bits: what a row leaves does not depend on where a step cuts its sequence.
#pragma once

#include <cstddef>

#include "backend/cuda/kernels.h"

namespace mlxd::cuda_backend {

struct DeltaNetShape {
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
  bool tiled = false;                  // as DeltaNetBlock has it
  const float* convolution = nullptr;  // [kernel, channels], the oldest row first
  const float* decay = nullptr;        // [value_heads]
  const float* time_bias = nullptr;    // [value_heads]
  Norm norm;                           // [value_dim], over each head

  __host__ __device__ int channels() const {
    return 2 * key_heads * key_dim + value_heads * value_dim;
  }
  __host__ __device__ int values() const { return value_heads * value_dim; }
};

// A layer's states: of slot s, at s * stride, the convolution's rows [kernel - 1][channels], the
// oldest first, and matrices [value_heads][key_dim][value_dim].
struct LayerStates {
  float* first = nullptr;
  std::size_t stride = 0;  // floats of a slot
};

// A sequence's part of a step, for layers that keep states. Its saves are [first_save, + saves).
struct StateSequence {
  int first_row = 0, rows = 0, state = -1;
  int first_save = 0, saves = 0;
};

// The state after a row of the step goes to a slot too.
struct SavedState {
  int after_row = 0, slot = 0;
};

// The sequences of a step (StepLayout).
struct StateRows {
  const int* sequence_of = nullptr;  // [T]
  const StateSequence* sequences = nullptr;
  const SavedState* saves = nullptr;
  int count = 0;  // of sequences
};

// mixed [T, channels] = the convolution of in [T, stride]'s first channels, q and k normed;
// factors [T, 2 value_heads]: alpha and beta become decay and strength.
void convolve(const DeltaNetShape& shape, const StateRows& step, const LayerStates& states,
              const float* in, int stride, int rows, float* factors, float* mixed,
              cudaStream_t stream);

// Moves all sequences' states on, and saves what they ask for. out [T, values].
void advance_states(const DeltaNetShape& shape, const StateRows& step, const LayerStates& states,
                    const float* in, int stride, const float* mixed, const float* factors,
                    float* out, cudaStream_t stream);

// out16 [T, out_stride] = norm(from [T, values]) * silu(gate), gate: of in [T, stride] what lies
// behind its channels.
void gate_heads(Element element, const DeltaNetShape& shape, const float* in, int stride,
                const float* from, int rows, void* out16, int out_stride, cudaStream_t stream);

}  // namespace mlxd::cuda_backend
