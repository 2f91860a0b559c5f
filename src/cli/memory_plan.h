#pragma once

#include <cstddef>

#include "cli/settings.h"
#include "model/model_files.h"

namespace mlxd {

// A model's memory, decided before any of it is taken. In bytes.
struct MemoryPlan {
  std::size_t available = 0;  // without swapping, now
  std::size_t weights = 0;    // repacked, they take as many bytes as in the file
  // Of the largest step, intermediate values and logits; of blocks on their way to and from disk.
  std::size_t buffers = 0;
  std::size_t kv_cache = 0;  // what is asked for, or a quarter of what is left; within the limit
};

// Throws StartupError when weights and buffers alone exceed --max-memory-gb.
MemoryPlan plan_memory(const ModelFiles& files, const EngineSettings& settings);

}  // namespace mlxd
