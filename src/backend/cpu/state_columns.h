#pragma once

#include <algorithm>
#include <cstring>

#include "backend/cpu/state_cache.h"
#include "engine/batch.h"

namespace mlxd::cpu {

// A state's columns do not know each other, so some of a head's, for all of a sequence's rows, are
// one piece of work that stays in the level-1 cache: 16 KiB with 128 dimensions of the key.
inline int state_columns(int value_dim) { return value_dim % 32 == 0 ? 32 : 16; }

// Some columns of a head of a sequence's state.
struct StateColumns {
  int layer = 0, head = 0, part = 0;
  std::size_t floats = 0;  // key_dim * columns
};

// Loads them into `scratch`, calls advance(first, end) for rows of the step up to each after which
// the state is saved, and for the rest, and saves them there.
template <class Advance>
void advance_columns(const StateCache& states, const StateColumns& columns,
                     const BatchSequence& sequence, float* scratch, const Advance& advance) {
  const auto stored = [&](int slot) {
    return states.head(columns.layer, slot, columns.head) +
           static_cast<std::size_t>(columns.part) * columns.floats;
  };
  if (sequence.state < 0) {
    std::fill_n(scratch, columns.floats, 0.0f);
  } else {
    std::memcpy(scratch, stored(sequence.state), columns.floats * sizeof(float));
  }
  int row = sequence.first_row;
  for (const StateSave& save : sequence.saves) {
    advance(row, save.after_row + 1);
    row = save.after_row + 1;
    std::memcpy(stored(save.slot), scratch, columns.floats * sizeof(float));
  }
  const int end = sequence.first_row + sequence.query_length;
  if (row < end) advance(row, end);
}

}  // namespace mlxd::cpu
