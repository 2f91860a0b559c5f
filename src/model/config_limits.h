#pragma once

#include <cstdint>
#include <string_view>

#include "model/model_config.h"

namespace mlxd {

// Upper bounds on what a file may state: far above any real model, and low enough that products of
// them fit into 64 bits and no hostile value reaches an allocation.
inline constexpr std::int64_t kMaxLayers = 1024;
inline constexpr std::int64_t kMaxHiddenSize = 1 << 18;
inline constexpr std::int64_t kMaxHeads = 4096;
inline constexpr std::int64_t kMaxHeadDim = 4096;
inline constexpr std::int64_t kMaxIntermediateSize = 1 << 21;
inline constexpr std::int64_t kMaxExperts = 1 << 14;
inline constexpr std::int64_t kMaxConvolution = 64;
inline constexpr std::int64_t kMaxVocabSize = 1 << 24;
inline constexpr std::int64_t kMaxContextLength = 1 << 27;

// What no single field can show: heads divide, halves exist, rotations fit their heads. Throws
// LoadError that begins with `file`.
void check_config(const ModelConfig& config, std::string_view file);

}  // namespace mlxd
