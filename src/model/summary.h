#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/model_files.h"

namespace mlxd {

// What there is to say of a model's size and make, for people: `mlxd inspect`.
struct ModelSummary {
  struct Format {
    std::string name;  // "Q4_K", "affine 4-bit, group 64"
    int tensors = 0;
    std::size_t bytes = 0;
  };

  std::string name;  // what the file calls the model, may be empty
  std::string architecture;
  std::string file_format;  // "gguf" or "safetensors"
  std::string fingerprint;
  std::int64_t parameters = 0;  // numbers in the plan's weights; a tied head counts once
  int layers = 0, hidden_size = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int context_length = 0, vocab_size = 0;
  bool has_chat_template = false;
  std::vector<Format> formats;  // of all tensors in the files, largest first
};

ModelSummary summarize(const ModelFiles& model);

}  // namespace mlxd
