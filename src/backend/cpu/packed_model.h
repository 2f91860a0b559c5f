#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/worker_pool.h"
#include "base/load_progress.h"
#include "model/model_plan.h"

namespace mlxd::cpu {

// A ModelPlan with its matrices repacked for the kernels; it needs the plan no more, and the
// model's file only for the table of its layers' inputs. The rows of q and k that a Rope would turn
// as neighbours (2i, 2i + 1) are reordered within their heads, so that every rotation pairs halves;
// scores are sums over the head and do not care.

struct PackedLinear {
  std::shared_ptr<const PackedMatrix> matrix;
  std::vector<float> bias;  // [rows], empty when there is none
};

// How a block's output y goes into the residual stream: x = stream_scale * (x + scale * norm(y)).
struct Residual {
  std::optional<RmsNorm> norm;
  float scale = 1;
  float stream_scale = 1;
};

struct PackedAttention {
  int layer = 0;
  bool shares_cache = false;  // it has no key and value
  std::optional<RmsNorm> input_norm;
  PackedLinear query, key;
  std::optional<PackedLinear> value;  // none: what the key's product gives is the value too
  std::optional<PackedLinear> gate;   // of the query's shape; its sigmoid multiplies the output
  std::optional<RmsNorm> query_norm, key_norm;  // of each head, or of all heads as one vector
  std::optional<RmsNorm> value_norm;            // of each head
  int rope = -1;                                // index into PackedModel::ropes, -1: none
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1, softcap = 0;
  int window = 0;
  std::optional<PositionTemperature> temperature;
  std::vector<float> sinks;  // [heads], empty: none
  PackedLinear output;
  Residual residual;

  bool norms_heads(const std::optional<RmsNorm>& norm) const {
    return norm && static_cast<int>(norm->weight.size()) == head_dim;
  }
  bool norms_rows(const std::optional<RmsNorm>& norm) const { return norm && !norms_heads(norm); }
};

struct PackedLatentAttention {
  int layer = 0;
  std::optional<RmsNorm> input_norm;
  std::optional<PackedLinear> query_down;
  std::optional<RmsNorm> query_norm;
  PackedLinear query, latent;
  RmsNorm latent_norm;
  PackedLinear key_up, value_up;  // a head's rows, whole tiles, after another's
  int rope = 0;                   // index into PackedModel::ropes
  int heads = 0, rank = 0, plain_dim = 0, rotary_dim = 0, value_dim = 0;
  float scale = 1;
  std::optional<PositionTemperature> temperature;
  PackedLinear output;
  Residual residual;

  int key_dim() const { return rank + rotary_dim; }
};

// down(activation(gate(h), up(h))), or without a gate down(squared_relu(up(h))), or of any other
// activation down(gelu(up(h))).
struct PackedMlp {
  std::optional<PackedLinear> gate;
  PackedLinear up, down;
  Activation activation = Activation::silu;

  bool reads_quantized() const {
    return up.matrix->reads_quantized() || (gate && gate->matrix->reads_quantized());
  }
  // Of a hidden layer's columns.
  std::size_t input_bytes() const {
    return up.matrix->bytes() + (gate ? gate->matrix->bytes() : 0);
  }
};

struct PackedFeedForward {
  std::optional<RmsNorm> input_norm;
  PackedMlp mlp;
  Residual residual;
};

struct PackedSharedExpert {
  std::optional<RmsNorm> input_norm;  // of its own
  PackedMlp mlp;
  std::optional<PackedLinear> weight;  // [1, D]
  std::optional<RmsNorm> output_norm;
};

struct PackedExperts {
  std::optional<RmsNorm> input_norm, router_norm;
  PackedLinear router;
  ExpertChoice choice;
  int experts = 0;
  int hidden_size = 0;        // D
  int intermediate_size = 0;  // F of one, a multiple of kGroupColumns
  PackedMlp mlp;              // of all, their rows one after another's
  std::optional<RmsNorm> experts_norm;
  std::optional<PackedSharedExpert> shared;
  Residual residual;
};

struct PackedDeltaNet {
  int layer = 0;  // of its state
  std::optional<RmsNorm> input_norm;
  PackedLinear qkv, gate, alpha, beta, output;
  std::vector<float> convolution;       // [kernel, channels], the oldest row first
  std::vector<float> decay, time_bias;  // [value_heads]
  RmsNorm norm;
  RmsNorm query_norm, key_norm;  // |x| with a head's factor, as norms of its mean square
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
  bool tiled = false;
  Residual residual;

  int channels() const { return 2 * key_heads * key_dim + value_heads * value_dim; }
  int values() const { return value_heads * value_dim; }
  int key_head_of(int value_head) const {
    return tiled ? value_head % key_heads : value_head / (value_heads / key_heads);
  }
};

struct PackedShortConv {
  int layer = 0;  // of its state
  std::optional<RmsNorm> input_norm;
  PackedLinear inner_gate, outer_gate, value, output;
  std::vector<float> convolution;  // [kernel, channels], the oldest row first
  std::vector<float> bias;         // [channels], empty: none
  int channels = 0, kernel = 0;
  Residual residual;
};

struct PackedMamba2 {
  int layer = 0;  // of its state
  std::optional<RmsNorm> input_norm;
  PackedLinear gate, input, time, output;
  std::vector<float> convolution;             // [kernel, channels], the oldest row first
  std::vector<float> bias;                    // [channels], empty: none
  std::vector<float> decay, time_bias, skip;  // [heads]
  float least_time = 0, most_time = 0;
  RmsNorm norm;
  int norm_groups = 1;
  int heads = 0, head_dim = 0, groups = 0, state_size = 0, kernel = 0;
  Residual residual;

  int values() const { return heads * head_dim; }
  int channels() const { return values() + 2 * groups * state_size; }
};

struct PackedLayerInput {
  int first = 0;  // of its numbers among those of all layers
  PackedLinear gate, output;
  Residual residual;
};

// What the layers learn of a row's token (LayerInputs).
struct PackedLayerInputs {
  int layers = 0, size = 0;
  Tensor table;  // where it lies in the file
  std::shared_ptr<const WeightSource> file;
  PackedLinear projection;
  RmsNorm norm;
  float table_scale = 1, projection_scale = 1, scale = 1;
};

using PackedBlock =
    std::variant<PackedAttention, PackedLatentAttention, PackedFeedForward, PackedExperts,
                 PackedDeltaNet, PackedShortConv, PackedMamba2, PackedLayerInput>;

struct PackedModel {
  int hidden_size = 0;
  int context_length = 0;
  int kv_layers = 0;
  std::shared_ptr<const PackedMatrix> embedding;
  float embedding_scale = 1;
  std::optional<PackedLayerInputs> layer_inputs;
  std::vector<PackedBlock> blocks;
  RmsNorm head_norm;
  PackedLinear head;  // its matrix is the embedding's where they are tied
  float logit_softcap = 0;
  std::vector<Rope> ropes;  // distinct, none interleaved
  std::size_t weight_bytes = 0;
};

// The index of the last block of whose rows later ones read something, in keys and values or a
// state: after it rows that nobody asks for are left out.
std::size_t last_mixer(const PackedModel& model);

// Packs all matrices, every worker taking the next that is left. Throws LoadError that names the
// tensor when shapes do not fit each other or the kernels. `progress` may be null; it is called on
// this thread.
PackedModel pack_model(const ModelPlan& plan, const Kernels& kernels, WorkerPool& pool,
                       const LoadProgress& progress);

}  // namespace mlxd::cpu
