#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/vocabulary_reader.h"
#include "text/tokenizer.h"

namespace mlxd::testing {

inline std::filesystem::path model_path(const std::string& file) {
  return std::filesystem::path(MLXD_TEST_MODELS) / file;
}

// The vocabulary of a model file, without its weights.
inline Vocabulary read_vocabulary(const std::string& file) {
  return read_gguf_vocabulary(*GgufFile::open(model_path(file)));
}

inline const std::string kSmolLm2 = "SmolLM2-135M-Instruct.Q4_1.gguf";
inline const std::string kQwen2 = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf";
inline const std::string kGemma3 = "gemma-3-270m-q4_k_m.gguf";

}  // namespace mlxd::testing
