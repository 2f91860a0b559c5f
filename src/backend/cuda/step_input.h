#pragma once

#include <array>
#include <vector>

#include "backend/cuda/delta_net_kernels.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/step_layout.h"

namespace mlxd::cuda_backend {

// A StepLayout on the card.
struct DeviceStep {
  struct Tiles {
    TileKind kind;
    const QueryTile* tiles = nullptr;
    int count = 0;
  };

  const int *tokens = nullptr, *positions = nullptr, *wanted = nullptr;
  std::array<const int*, kMaxKvGroups> slots{}, tables{};
  std::vector<Tiles> tiles;
  StateRows states;
  int parts = 1;  // of attention, to be computed beside one another

  const Tiles& tiles_of(int rows, int group) const {
    for (const Tiles& some : tiles) {
      if (some.kind == TileKind{rows, group}) return some;
    }
    return tiles.front();
  }
};

}  // namespace mlxd::cuda_backend
