#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "model/model_config.h"
#include "model/tensor.h"
#include "model/weight_source.h"

namespace mlxd {

// A model as the list of coarse operations that every backend executes. An architecture file makes
// it from a ModelConfig and a WeightSource; no backend asks which architecture it was. Shapes:
// T rows (tokens) of a batch, D hidden_size, H heads, K KV heads, d head_dim, F intermediate_size,
// V vocab_size.

// y = x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019). The weight holds Gemma's
// added 1 already.
struct RmsNorm {
  std::vector<float> weight;
  float epsilon = 1e-5f;
};

// y = W x + b. weight [out, in].
struct Linear {
  Tensor weight;
  std::vector<float> bias;  // [out], empty when there is none
};

// Rotary embedding (Su et al. 2021): pair i of a head is turned by position *
// inverse_frequencies[i]. All scalings (linear, llama3, yarn, stored divisors) are worked into the
// frequencies.
struct Rope {
  std::vector<float> inverse_frequencies;  // [rotated dimensions / 2]; the rest of the head passes
  bool interleaved = false;                // pairs (2i, 2i+1) instead of (i, i + rotated / 2)
  float magnitude = 1;                     // yarn: factor on the rotated q and k
};

// x[T, D] = table[token] * scale
struct Embed {
  Tensor table;  // [V, D]
  float scale = 1;
};

// x += post_norm(output(attend(rope(q_norm(q(h))), rope(k_norm(k(h))), v(h)))), h = input_norm(x).
// Query head i reads KV head i / (heads / kv_heads).
struct AttentionBlock {
  int layer = 0;  // index of this block's KV cache, 0 .. plan.kv_layers - 1
  RmsNorm input_norm;
  Linear query, key, value;                     // [H d, D], [K d, D], [K d, D]
  std::optional<RmsNorm> query_norm, key_norm;  // per head, [d]
  Rope rope;
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;    // scores = scale * q.k
  float softcap = 0;  // scores = softcap * tanh(scores / softcap), 0: none
  int window = 0;     // a row at position p sees keys p - window + 1 .. p; 0: all up to p
  Linear output;      // [D, H d]
  std::optional<RmsNorm> post_norm;
};

enum class Activation { silu, gelu_tanh };

// x += post_norm(down(activation(gate(h)) * up(h))), h = input_norm(x).
struct FeedForwardBlock {
  RmsNorm input_norm;
  Linear gate, up;  // [F, D]
  Linear down;      // [D, F]
  Activation activation = Activation::silu;
  std::optional<RmsNorm> post_norm;
};

// logits[V] = softcap * tanh(weight * norm(x) / softcap)
struct Head {
  RmsNorm norm;
  Linear weight;      // [V, D]; the embedding table itself when tied
  float softcap = 0;  // 0: none
};

struct ModelPlan {
  ModelConfig config;
  Embed embed;
  std::vector<std::variant<AttentionBlock, FeedForwardBlock>> blocks;  // in order
  Head head;
  int kv_layers = 0;
  std::shared_ptr<const WeightSource> weights;  // keeps the tensors' bytes mapped
};

// Every matrix once: a head that is tied is its embedding table.
std::vector<const Tensor*> matrices_of(const ModelPlan& plan);

}  // namespace mlxd
