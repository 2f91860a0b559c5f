#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "model/activation.h"
#include "model/encoder_plan.h"
#include "model/linear.h"
#include "model/model_config.h"
#include "model/rope.h"
#include "model/tensor.h"
#include "model/weight_source.h"

namespace mlxd {

// A model as the list of coarse operations that every backend executes. An architecture file makes
// it from a ModelConfig and a WeightSource; no backend asks which architecture it was. Shapes:
// T rows (tokens) of a batch, D hidden_size, H heads, K KV heads, d head_dim, F intermediate_size,
// V vocab_size, E experts.

// y = x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019). The weight holds Gemma's
// added 1 already.
struct RmsNorm {
  std::vector<float> weight;
  float epsilon = 1e-5f;
};

// x[T, D] = table[token] * scale
struct Embed {
  Tensor table;  // [V, D]
  float scale = 1;
};

// x += residual_scale * post_norm(output(attend(rope(q_norm(q(h))), rope(k_norm(k(h))),
// v_norm(v(h))))), h = input_norm(x). Query head i reads KV head i / (heads / kv_heads). What a
// model does not have of this is absent, and costs nothing.
struct AttentionBlock {
  int layer = 0;  // index of this block's KV cache, 0 .. plan.kv_layers - 1
  // It has no keys and values of its own, but reads those of the block before it with that index.
  bool shares_cache = false;
  std::optional<RmsNorm> input_norm;
  Linear query, key, value;  // [H d, D], [K d, D], [K d, D]
  // Over each head, [d], or over all of them as one vector, [H d] and [K d].
  std::optional<RmsNorm> query_norm, key_norm;
  std::optional<RmsNorm> value_norm;  // over each head
  std::optional<Rope> rope;
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;    // scores = scale * q.k
  float softcap = 0;  // scores = softcap * tanh(scores / softcap), 0: none
  int window = 0;     // a row at position p sees keys p - window + 1 .. p; 0: all up to p
  std::optional<PositionTemperature> temperature;  // a factor on q
  // [H]: a score of each head that its softmax counts beside those of the keys, and that has no
  // value (Xiao et al. 2023, "attention sinks"); empty: none.
  std::vector<float> sinks;
  // The query's rows are, of each head, those of q and then as many of a gate, by whose sigmoid the
  // head's output is multiplied: [2 H d, D].
  bool gated = false;
  Linear output;  // [D, H d]
  std::optional<RmsNorm> post_norm;
  float residual_scale = 1;

  // v(h) is k(h): `value` is `key` once more.
  bool values_are_keys() const {
    return value.weight.data.data() == key.weight.data.data() &&
           value.rows.first == key.rows.first && value.bias == key.bias;
  }
};

// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2"): the cache holds of a token a
// latent c and a rotated key r, once for all heads. With h = input_norm(x):
//   (c, r) = latent(h), c = latent_norm(c), r = rope(r)
//   (p, t) of each head = query(h), or query(query_norm(query_down(h))); t = rope(t)
//   scores = scale * ((key_up p) . c + t . r)
//   x += residual_scale * output(of each head value_up (sum of softmax(scores) c))
// key_up and value_up have a matrix of each head. This is the "absorbed" form, in which a head's
// own keys and values, key_up^T c and value_up c, are never made.
struct LatentAttentionBlock {
  int layer = 0;  // index of this block's KV cache, 0 .. plan.kv_layers - 1
  std::optional<RmsNorm> input_norm;
  std::optional<Linear> query_down;   // [query rank, D]
  std::optional<RmsNorm> query_norm;  // [query rank]
  Linear query;                       // [H (plain_dim + rotary_dim), D or query rank]
  Linear latent;                      // [rank + rotary_dim, D]
  RmsNorm latent_norm;                // [rank]
  Linear key_up;                      // [H rank, plain_dim], a head's rows after another's
  Linear value_up;                    // [H value_dim, rank]
  Rope rope;                          // turns rotary_dim
  int heads = 0, rank = 0, plain_dim = 0, rotary_dim = 0, value_dim = 0;
  float scale = 1;
  std::optional<PositionTemperature> temperature;  // a factor on a head's query
  Linear output;                                   // [D, H value_dim]
  float residual_scale = 1;

  int key_dim() const { return rank + rotary_dim; }         // of the one that a cache holds
  int query_dim() const { return plain_dim + rotary_dim; }  // of a head, as `query` makes it
};

// Which experts a row goes to, and with which weights, by its scores of them.
struct ExpertChoice {
  ExpertScoring scoring = ExpertScoring::softmax;
  std::vector<float> bias = {};  // [E], on what the choice is made by alone; empty: none
  int groups = 1, chosen_groups = 1;
  bool groups_by_best = false;
  int chosen = 0;
  bool normalised = false;
  float scale = 1;
  std::vector<float> expert_scales = {};  // [E], on the weights of those chosen; empty: none
};

// x = stream_scale * (x + residual_scale * post_norm(down(activation(gate(h)) * up(h)))), h =
// input_norm(x).
struct FeedForwardBlock {
  std::optional<RmsNorm> input_norm;
  std::optional<Linear> gate;  // [F, D]
  Linear up;                   // [F, D]
  Linear down;                 // [D, F]
  Activation activation = Activation::silu;
  std::optional<RmsNorm> post_norm;
  float residual_scale = 1, stream_scale = 1;
};

// A feed-forward layer that every row takes beside its experts.
struct SharedExpert {
  std::optional<RmsNorm> input_norm;  // it reads input_norm(x) instead of h
  std::optional<Linear> gate;         // [S, D]
  Linear up;                          // [S, D]
  Linear down;                        // [D, S]
  std::optional<Linear> weight;       // [1, D]: its output is multiplied by sigmoid(weight h)
  std::optional<RmsNorm> output_norm;
};

// x = stream_scale * (x + residual_scale * post_norm(experts_norm(sum of weight(e) *
// down_e(activation(gate_e(h)) * up_e(h)) over the experts that the router chooses for the row) +
// the shared expert's output)), h = input_norm(x).
struct ExpertsBlock {
  std::optional<RmsNorm> input_norm;
  std::optional<RmsNorm> router_norm;  // the router reads router_norm(x) instead of h
  Linear router;                       // [E, D]: the scores (Shazeer et al. 2017)
  ExpertChoice choice;
  int experts = 0;             // E
  std::optional<Linear> gate;  // [E F, D], an expert's rows after another's
  Linear up;                   // [E F, D]
  Linear down;                 // [E D, F]
  Activation activation = Activation::silu;
  std::optional<RmsNorm> experts_norm;
  std::optional<SharedExpert> shared;
  std::optional<RmsNorm> post_norm;
  float residual_scale = 1, stream_scale = 1;

  int intermediate_size() const { return static_cast<int>(up.out() / experts); }
};

// Gated delta net (Yang, Kautz, Hatamizadeh 2025): of each value head a state S [key_dim,
// value_dim], zero before the first token. For a row, with h = input_norm(x):
//   (q, k, v) = silu(convolution of the last `kernel` rows of qkv(h), each channel by itself)
//   q = q / |q| / sqrt(key_dim), k = k / |k|       (|x| = sqrt(sum of squares + 1e-6))
//   g = exp(decay * softplus(alpha(h) + time_bias)), b = sigmoid(beta(h))
//   S = g S + k (b (v - g S^T k))^T
//   x += residual_scale * output(norm(S^T q) * silu(gate(h)))
// Value head v reads key head v / (value_heads / key_heads), or where `tiled` v % key_heads.
struct DeltaNetBlock {
  int layer = 0;  // index of this block's state, 0 .. plan.state_layers - 1
  std::optional<RmsNorm> input_norm;
  Linear qkv;                      // [2 key_heads key_dim + value_heads value_dim, D]
  Linear gate;                     // [value_heads value_dim, D]
  Linear alpha, beta;              // [value_heads, D]
  std::vector<float> convolution;  // [channels of qkv, kernel], the oldest row first
  std::vector<float> decay;        // [value_heads], negative
  std::vector<float> time_bias;    // [value_heads]
  RmsNorm norm;                    // [value_dim], over each head
  Linear output;                   // [D, value_heads value_dim]
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
  bool tiled = false;
  float residual_scale = 1;

  int channels() const { return 2 * key_heads * key_dim + value_heads * value_dim; }
  int key_head_of(int value_head) const {
    return tiled ? value_head % key_heads : value_head / (value_heads / key_heads);
  }
};

// A short convolution between two gates (Liquid AI 2025, LFM2): with h = input_norm(x),
//   x += residual_scale * output(outer_gate(h) * (convolution of the last `kernel` rows of
//        inner_gate(h) * value(h), each channel by itself, + bias))
struct ShortConvBlock {
  int layer = 0;  // index of this block's state, 0 .. plan.state_layers - 1
  std::optional<RmsNorm> input_norm;
  Linear inner_gate, outer_gate, value;  // [channels, D]
  std::vector<float> convolution;        // [channels, kernel], the oldest row first
  std::vector<float> convolution_bias;   // [channels], empty: none
  Linear output;                         // [D, channels]
  int kernel = 0;
  float residual_scale = 1;

  int channels() const { return static_cast<int>(value.out()); }
};

// Mamba-2 (Dao & Gu 2024): of each head a state S [state_size, head_dim], zero before the first
// token. For a row, with h = input_norm(x):
//   (v, b, c) = silu(convolution of the last `kernel` rows of input(h), each channel by itself, +
//               bias)
//   t = clamp(softplus(time(h) + time_bias), least_time, most_time)
//   S = exp(decay t) S + b (t v)^T
//   x += residual_scale * output(norm((S^T c + skip v) * silu(gate(h))))
// Head i reads b and c of group i / (heads / groups).
struct Mamba2Block {
  int layer = 0;  // index of this block's state, 0 .. plan.state_layers - 1
  std::optional<RmsNorm> input_norm;
  Linear gate;                                // [heads head_dim, D]
  Linear input;                               // [heads head_dim + 2 groups state_size, D]
  Linear time;                                // [heads, D]
  std::vector<float> convolution;             // [channels of input, kernel], the oldest row first
  std::vector<float> convolution_bias;        // [channels of input], empty: none
  std::vector<float> decay, time_bias, skip;  // [heads]; decay is negative
  float least_time = 0, most_time = 0;
  RmsNorm norm;         // [heads head_dim]: the weight; what it divides by is of each of
  int norm_groups = 1;  // so many parts
  Linear output;        // [D, heads head_dim]
  int heads = 0, head_dim = 0, groups = 0, state_size = 0, kernel = 0;
  float residual_scale = 1;

  int values() const { return heads * head_dim; }
  int channels() const { return values() + 2 * groups * state_size; }
};

// What layers learn of a row's token beside the residual stream (Gemma 3n and 4): of each of
// `layers` P numbers, input[i] = scale * (norm(projection_scale * projection(x)[i]) + table_scale *
// table[token][i]), x the embedded token.
struct LayerInputs {
  int layers = 0, size = 0;  // P
  Tensor table;              // [V, layers P]: rows are read where they lie in the file
  Linear projection;         // [layers P, D]
  RmsNorm norm;              // [P]
  float table_scale = 1, projection_scale = 1, scale = 1;
};

// x = stream_scale * (x + post_norm(output(gelu(gate(x)) * the row's input[index])))
struct LayerInputBlock {
  int index = 0;  // 0 .. LayerInputs::layers - 1
  Linear gate;    // [P, D]
  Linear output;  // [D, P]
  std::optional<RmsNorm> post_norm;
  float stream_scale = 1;
};

// The kinds of block. Whoever runs, counts or measures a plan visits them with std::visit and a
// function for each kind, so that a new kind does not compile until all of them know it.
using Block = std::variant<AttentionBlock, LatentAttentionBlock, FeedForwardBlock, ExpertsBlock,
                           DeltaNetBlock, ShortConvBlock, Mamba2Block, LayerInputBlock>;

// logits[V] = softcap * tanh(weight * norm(x) / softcap)
struct Head {
  RmsNorm norm;       // its weight (and the bias below) hold a model's factor on the logits already
  Linear weight;      // [V, D]; the embedding table itself when tied
  float softcap = 0;  // 0: none
};

struct ModelPlan {
  ModelConfig config;
  Embed embed;
  std::optional<LayerInputs> layer_inputs;
  std::vector<Block> blocks;  // in order
  Head head;
  int kv_layers = 0;
  int state_layers = 0;  // blocks with a recurrent state
  // An encoder has this in the place of blocks and head, and `pooled`.
  std::optional<EncoderPlan> encoder;
  std::optional<PooledOutput> pooled;  // what it makes of a whole text; nothing: it makes none
  std::shared_ptr<const WeightSource> weights;  // keeps the tensors' bytes mapped
};

// The products of a block, in the order in which it computes them.
std::vector<const Linear*> linears_of(const Block& block);
std::vector<const Linear*> linears_of(const EncoderLayer& layer);

// Every matrix once: a head that is tied is its embedding table.
std::vector<const Tensor*> matrices_of(const ModelPlan& plan);

}  // namespace mlxd
