#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backends.h"
#include "serve/parsers/answer_format.h"

namespace mlxd {

// A model that the operator asks for.
struct ModelSetting {
  std::string name;        // the id that clients use
  std::string where;       // a path, or an id that find_model looks up
  bool on_demand = false;  // loaded when it is asked for, and let go for others
  bool left_out = false;   // if its files cannot be used, with a warning: nobody named it
  std::vector<std::string> aliases = {};  // its other names (ModelFacts)
};

// How much memory and which device models get; the same for all models of a process.
struct EngineSettings {
  BackendOptions backend;
  int context = 0;           // tokens of context at most; 0: the model's own
  double kv_cache_gb = 0;    // of each model; 0: together a quarter of the memory that is free
  double max_memory_gb = 0;  // weights, buffers and KV of all models; 0: no limit of its own
  int max_running = 64;
  int max_queued = 256;
  std::int64_t max_queued_tokens = 1 << 18;
  int step_tokens = 512;
  double hang_timeout = 10;
  bool prefix_cache = true;
  std::string prefix_cache_dir;  // "": in memory alone
  double prefix_cache_disk_gb = 8;
  int max_draft_tokens = 8;
  ParserNames parsers;
};

}  // namespace mlxd
