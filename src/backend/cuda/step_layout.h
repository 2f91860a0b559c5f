#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/cuda/packed.h"
#include "engine/batch.h"

namespace mlxd::cuda_backend {

// Tiles of so many neighbouring rows at most, for the layers of one KV group.
struct TileKind {
  int rows = 0;
  int group = 0;
  bool operator==(const TileKind&) const = default;
};

// What kernels read of a batch, as one array of numbers that one copy brings to the card. Reused
// from step to step.
class StepLayout {
 public:
  // `groups`: of the KV cache; `states`: whether layers keep some.
  StepLayout(int groups, std::vector<TileKind> kinds, bool states = false);

  void build(const Batch& batch);

  std::span<const int> numbers() const { return numbers_; }
  // Where each array begins in them: [rows] tokens and positions, of each group the slots [rows] of
  // what the step writes and the block tables of its sequences one after another, the [wanted]
  // rows, of each kind its tiles (QueryTile), and for states the sequence of each row, [sequences]
  // (StateSequence) and their saves (SavedState), for which there is some room.
  std::size_t tokens() const { return tokens_; }
  std::size_t positions() const { return positions_; }
  std::size_t slots(int group) const { return slots_[static_cast<std::size_t>(group)]; }
  std::size_t tables(int group) const { return tables_[static_cast<std::size_t>(group)]; }
  std::size_t wanted() const { return wanted_; }
  std::size_t sequence_of() const { return sequence_of_; }
  std::size_t sequences() const { return sequences_; }
  std::size_t saves() const { return saves_; }
  struct Tiles {
    TileKind kind;
    std::size_t first = 0;
    int count = 0;
  };
  std::span<const Tiles> tiles() const { return tiles_; }
  int largest_context() const { return largest_context_; }

 private:
  std::size_t begin() const { return numbers_.size(); }
  void add_slots(const Batch& batch, std::size_t group);
  void add_tables(const Batch& batch, std::size_t group);
  void add_states(const Batch& batch);
  void add_tiles(const Batch& batch, Tiles& tiles);

  std::size_t groups_;
  std::vector<Tiles> tiles_;
  std::vector<int> numbers_;
  bool states_;
  std::size_t tokens_ = 0, positions_ = 0, wanted_ = 0;
  std::size_t sequence_of_ = 0, sequences_ = 0, saves_ = 0;
  std::array<std::size_t, kMaxKvGroups> slots_{}, tables_{};
  int largest_context_ = 0;
};

}  // namespace mlxd::cuda_backend
