#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "base/system_memory.h"
#include "engine/model_runner.h"
#include "model/model_files.h"
#include "models/engine_settings.h"

namespace mlxd {

// What one model takes, in bytes.
struct ModelMemory {
  std::string name;
  std::size_t weights = 0;  // as the backend holds them
  // Of the largest step, intermediate values and logits; of sequences, their tokens and drafters;
  // of blocks on their way to and from disk.
  std::size_t buffers = 0;
  // A block of KV cache, and the tokens that it keeps. Of a model that keeps recurrent states
  // alone, one of these, for a whole context; of an encoder, which keeps nothing, 0.
  std::size_t kv_block = 0;
  int block_tokens = 0;
  std::vector<KvGroup> kv;   // what a block is made of
  int context = 0;           // tokens of a sequence at most
  std::size_t state = 0;     // recurrent state of a sequence; these are in the KV cache's memory
  std::size_t kv_most = 0;   // --max-running sequences of the whole context, with their snapshots
  std::size_t kv_cache = 0;  // whole blocks, for plan_memory to decide
  bool on_demand = false;    // it is there while somebody needs it

  std::size_t total() const { return weights + buffers + kv_cache; }
  std::size_t kv_token() const {
    if (kv_block == 0) return 0;
    return std::max<std::size_t>(kv_block / static_cast<std::size_t>(block_tokens), 1);
  }
  // Of one sequence of so many tokens, by itself: windowed layers keep of them what they read.
  std::size_t sequence(std::size_t tokens) const;
};

// By the headers alone. Throws LoadError or StartupError for what the backend cannot run.
ModelMemory memory_of(std::string name, const ModelFiles& files, const EngineSettings& settings);

// The memory of all models of a process, decided before any of it is taken.
struct MemoryPlan {
  std::size_t available = 0;  // when it was made
  std::vector<ModelMemory> models;
  std::size_t room = 0;               // for those on demand, as many at a time as it holds
  std::vector<std::string> warnings;  // sentences for the operator
  std::string refusal;                // why it cannot be carried out; "": it can

  // Of those that are always there.
  std::size_t weights_and_buffers() const;
  std::size_t kv_cache() const;
  // What the models may take that are loaded at a time.
  std::size_t total() const { return weights_and_buffers() + kv_cache() + room; }
};

// Gives each model its KV cache: what --kv-cache-gb says, or without it a share of a quarter of
// what the weights and buffers of all leave; all together within --max-memory-gb. What is shared is
// shared by tokens: each model's cache holds as many as the others', and none more than its
// kv_most. Models on demand have what these leave of --max-memory-gb, or without it of the memory
// that is available now, and each of them a cache as though it were alone there.
//
// Refused are weights and buffers that alone exceed --max-memory-gb, and weights that exceed all
// the memory there is; what may merely lead to swapping is a warning.
MemoryPlan plan_memory(std::vector<ModelMemory> models, const EngineSettings& settings,
                       const SystemMemory& system = system_memory());

// Tokens that the KV cache of a plan holds beside windows and states, for all sequences together;
// 0: it has no layers that keep all.
std::size_t kv_tokens(const ModelMemory& memory, const EngineSettings& settings);

// A sentence for when the system does not give what a model was to take.
std::string out_of_memory(const ModelMemory& model);

// Throws StartupError with the refusal of a plan that has one.
void admit(const MemoryPlan& plan);

}  // namespace mlxd
