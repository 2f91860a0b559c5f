#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "model/activation.h"

namespace mlxd {

// Rotary position scaling as model files state it; resolved to plain frequencies by the plan.
struct RopeScaling {
  enum class Kind { none, linear, llama3, yarn } kind = Kind::none;
  float factor = 1;
  float low_frequency_factor = 1, high_frequency_factor = 4;  // llama3
  int original_context_length = 0;                            // llama3, yarn
  float beta_fast = 32, beta_slow = 1;                        // yarn
  bool whole_bounds = true;    // yarn: pairs between which it passes over are rounded outwards
  float attention_factor = 0;  // on the rotated q and k; 0: yarn's own 0.1 ln(factor) + 1, else 1
};

struct RopeConfig {
  float theta = 10000;
  int dimensions = 0;  // of a head that turn, from its first; even
  RopeScaling scaling = {};
  std::vector<float> divisors = {};  // of the frequencies: [dimensions / 2], or empty
  // Some architectures' GGUF files hold the rows of q and k permuted, so that a rotation pairs
  // neighbours (2i, 2i + 1) instead of halves (i, i + dimensions / 2).
  bool interleaved = false;
};

// Attention that stays sharp over long contexts (Llama 4, "inference time temperature scaling"; its
// first user here is Ministral 3): the query at a position is multiplied by this factor.
struct PositionTemperature {
  float beta = 0;
  int length = 1;  // positions over which the factor stays, at 1 over the first

  float at(int position) const {
    return 1 + beta * std::log(1 + static_cast<float>(position / length));
  }
  bool operator==(const PositionTemperature&) const = default;
};

// What the attention of one layer is, its weights apart.
struct AttentionConfig {
  bool recurrent = false;  // none: the layer keeps a state instead of keys and values
  int kv_heads = 0, head_dim = 0;
  // Tokens that a row sees, 0: all before it. Of an encoder those on either side of it, 0: all.
  int window = 0;
  std::optional<RopeConfig> rope;  // none: positions do not turn q and k
  float scale = 1;
  float softcap = 0;  // 0: none
  std::optional<PositionTemperature> temperature;
};

// How a router's scores of the experts, s = W h, become their weights for a row.
enum class ExpertScoring {
  softmax,         // over all experts
  softmax_chosen,  // over those that were chosen
  sigmoid,         // each by itself (DeepSeek-AI 2024, V3)
  sqrt_softplus,   // sqrt(log(1 + exp(s))) (DeepSeek-AI 2026, V4)
};

// The experts of the layers that have some.
struct ExpertsConfig {
  int count = 0;   // 0: no layer has
  int chosen = 0;  // a row
  int intermediate_size = 0;
  int shared_intermediate_size = 0;  // of an expert that every row takes beside these; 0: none
  ExpertScoring scoring = ExpertScoring::softmax;
  // Only experts of the best groups are chosen from; a group is as good as its two best experts.
  int groups = 1, chosen_groups = 1;
  bool groups_by_best = false;  // as its best one instead (DeepSeek-AI 2024, V2)
  bool normalised = false;      // the weights of those chosen are divided by their sum
  float scale = 1;              // on the weights, after that
};

// The attention of layers whose cache holds of a token a latent and a rotated key, once for all
// heads (LatentAttentionBlock), in place of keys and values.
struct LatentConfig {
  int rank = 0;                       // numbers of the latent; 0: no layer has one
  int query_rank = 0;                 // of what queries are made of; 0: they are made at once
  int plain_dim = 0, rotary_dim = 0;  // of a head's query and key: what does not turn, what does
  int value_dim = 0;                  // of a head
  float norm_epsilon = 0;             // of the norms of the latent and of what queries are made of
};

// The layers that are gated delta nets.
struct DeltaNetConfig {
  int key_heads = 0;  // 0: no layer is
  int value_heads = 0;
  int key_dim = 0, value_dim = 0;  // of a head
  int kernel = 0;                  // tokens that the convolution sees
  // Value head h reads key head h % key_heads, as GGUF files order them, instead of
  // h / (value_heads / key_heads).
  bool tiled = false;
};

// The layers that are Mamba-2.
struct Mamba2Config {
  int heads = 0;  // 0: no layer is
  int head_dim = 0, groups = 0, state_size = 0;
  int kernel = 0;  // tokens that the convolution sees
  float least_time = 0, most_time = std::numeric_limits<float>::infinity();
};

// The numbers of a model, under one set of names, whichever file they came from (config.json or
// GGUF metadata). What one family alone has is worked into these by its file in architectures/, or
// known there only. Checked by the reader: all counts are positive and bounded, heads divide.
struct ModelConfig {
  std::string architecture;  // a name of the registry: "llama", "gemma3_text"
  std::string name;          // what the file calls the model, for people
  int layers = 0;
  int hidden_size = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int intermediate_size = 0;
  int vocab_size = 0;
  int context_length = 0;

  float norm_epsilon = 1e-5f;
  float norm_weight_offset = 0;  // what is added to a norm's weight as it is stored

  // As the file states them for all layers; what holds is in `attention`.
  RopeConfig rope;
  int sliding_window = 0;
  float attention_softcap = 0;
  std::vector<AttentionConfig> attention;  // [layers]

  std::vector<int> intermediate_sizes;  // [layers]; empty: all have intermediate_size
  int sharing_layers = 0;               // the last ones, which read keys and values of earlier ones
  int layer_input_size = 0;             // of what a layer learns of a token; 0: nothing
  ExpertsConfig experts;
  LatentConfig latent;
  DeltaNetConfig delta_net;
  int short_convolution = 0;  // tokens that the layers see which are one; 0: no layer is
  Mamba2Config mamba2;
  int draft_layers = 0;  // that a file has behind `layers`, to guess further tokens by (not run)

  float embedding_scale = 1;  // on the embedded tokens
  float residual_scale = 1;   // on what a block adds to the residual stream
  float logit_scale = 1;      // before the softcap
  float logit_softcap = 0;    // 0: none

  bool tied_embeddings = false;

  // Of encoders.
  bool is_encoder = false;
  bool is_cross_encoder = false;  // with one score of a pair on top
  int first_position = 0;         // the row of the learnt positions that a text begins with
  Activation activation = Activation::gelu;  // of its hidden layers
};

// Gives every layer the attention that the model-wide numbers describe: it sees all, turns by
// `rope`, and divides scores by the root of the head's size.
void describe_layers(ModelConfig& config);

}  // namespace mlxd
