#pragma once

#include <string>
#include <vector>

namespace mlxd {

// Rotary position scaling as model files state it; resolved to plain frequencies by the plan.
struct RopeScaling {
  enum class Kind { none, linear, llama3, yarn } kind = Kind::none;
  float factor = 1;
  float low_frequency_factor = 1, high_frequency_factor = 4;  // llama3
  int original_context_length = 0;                            // llama3, yarn
  float beta_fast = 32, beta_slow = 1, attention_factor = 0;  // yarn; 0: 0.1 ln(factor) + 1
};

// The numbers of a model, under one set of names, whichever file they came from (config.json or
// GGUF metadata). Checked by the reader: all counts are positive and bounded, heads divide.
struct ModelConfig {
  std::string architecture;  // "llama", "qwen2", "qwen3", "gemma3_text": a name of the registry
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
  // What is added to a stored norm weight: 1 for Gemma in Hugging Face's files, 0 in GGUF files,
  // whose converter has added it already.
  float norm_weight_offset = 0;

  float rope_theta = 10000;
  float rope_local_theta = 10000;  // of sliding-window layers (gemma3)
  RopeScaling rope_scaling;
  // Llama-architecture GGUF files hold q and k with their rows permuted, so that a rotation pairs
  // neighbours (2i, 2i+1) instead of halves (i, i + d/2).
  bool rope_interleaved = false;
  std::vector<float> rope_frequency_factors;  // GGUF rope_freqs.weight: divisors, [head_dim / 2]

  int sliding_window = 0;             // tokens a windowed layer sees, 0: none
  std::vector<bool> windowed_layers;  // [layers]: which see only the window; empty: none does
  float query_scale = 0;              // attention scale; 0: 1 / sqrt(head_dim)
  float attention_softcap = 0;        // 0: none
  float logit_softcap = 0;            // 0: none
  float embedding_scale = 1;

  bool tied_embeddings = false;
};

}  // namespace mlxd
