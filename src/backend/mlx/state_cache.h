#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

#include "model/model_plan.h"

namespace mlxd::mlx_backend {

namespace mx = mlx::core;

// The recurrent states of sequences, in slots. An array never changes: a step makes new ones, which
// take their slots' places when it has succeeded, so a step that failed may be repeated and who
// shares a state shares its memory. Inference thread.
class StateCache {
 public:
  struct State {
    mx::array convolution;  // [kernel - 1, channels]: the last rows that it saw, the oldest first
    mx::array heads;        // [heads, key_dim, value_dim], both float32
  };

  explicit StateCache(const ModelPlan& plan);

  std::size_t slot_bytes() const;
  void resize(int slots);

  // `slot` -1: the state before the first token.
  const State& read(int layer, int slot) const;
  // Of the step that is being made.
  void save(int layer, int slot, State state);
  void append_to(std::vector<mx::array>& arrays) const;  // what was saved, to be evaluated
  void commit();
  void discard() { saved_.clear(); }

 private:
  struct Layer {
    State empty;
    std::vector<std::optional<State>> slots;
  };
  struct Saved {
    int layer, slot;
    State state;
  };

  std::vector<Layer> layers_;
  std::vector<Saved> saved_;
};

}  // namespace mlxd::mlx_backend
