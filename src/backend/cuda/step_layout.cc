#include "backend/cuda/step_layout.h"

#include <algorithm>

namespace mlxd::cuda_backend {

StepLayout::StepLayout(int groups, std::vector<TileKind> kinds, bool states)
    : groups_(static_cast<std::size_t>(groups)), states_(states) {
  for (const TileKind& kind : kinds) tiles_.push_back({.kind = kind});
}

void StepLayout::build(const Batch& batch) {
  numbers_.clear();
  largest_context_ = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    largest_context_ = std::max(largest_context_, sequence.context_length);
  }
  // Tiles first: their four numbers are read at once, at a place that is a multiple of four.
  for (Tiles& tiles : tiles_) add_tiles(batch, tiles);
  tokens_ = begin();
  numbers_.insert(numbers_.end(), batch.tokens.begin(), batch.tokens.end());
  positions_ = begin();
  numbers_.insert(numbers_.end(), batch.positions.begin(), batch.positions.end());
  wanted_ = begin();
  for (const WantedRow& wanted : batch.wanted) numbers_.push_back(wanted.row);
  if (states_) add_states(batch);
  for (std::size_t group = 0; group < groups_; ++group) add_slots(batch, group);
  // Last, since they grow from step to step while all before stays where it is.
  for (std::size_t group = 0; group < groups_; ++group) add_tables(batch, group);
}

void StepLayout::add_states(const Batch& batch) {
  sequence_of_ = begin();
  for (std::size_t i = 0; i < batch.sequences.size(); ++i) {
    const auto rows = static_cast<std::size_t>(batch.sequences[i].query_length);
    numbers_.insert(numbers_.end(), rows, static_cast<int>(i));
  }
  sequences_ = begin();
  int saves = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    const int own = static_cast<int>(sequence.saves.size());
    numbers_.insert(numbers_.end(),
                    {sequence.first_row, sequence.query_length, sequence.state, saves, own});
    saves += own;
  }
  saves_ = begin();
  for (const BatchSequence& sequence : batch.sequences) {
    for (const StateSave& save : sequence.saves) {
      numbers_.insert(numbers_.end(), {save.after_row, save.slot});
    }
  }
  // Room for two of each sequence, so that what follows lies elsewhere in few steps only.
  const std::size_t room = saves_ + 4 * batch.sequences.size();
  if (numbers_.size() < room) numbers_.resize(room);
}

void StepLayout::add_slots(const Batch& batch, std::size_t group) {
  slots_[group] = begin();
  for (const BatchSequence& sequence : batch.sequences) {
    for (int i = 0; i < sequence.query_length; ++i) {
      const int position = batch.positions[static_cast<std::size_t>(sequence.first_row + i)];
      const int block = sequence.blocks[group][static_cast<std::size_t>(position / kBlockTokens)];
      numbers_.push_back(block * kBlockTokens + position % kBlockTokens);
    }
  }
}

void StepLayout::add_tables(const Batch& batch, std::size_t group) {
  tables_[group] = begin();
  for (const BatchSequence& sequence : batch.sequences) {
    const auto blocks = sequence.blocks[group];
    numbers_.insert(numbers_.end(), blocks.begin(), blocks.end());
  }
}

void StepLayout::add_tiles(const Batch& batch, Tiles& tiles) {
  tiles.first = begin();
  tiles.count = 0;
  std::size_t table = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    for (int i = 0; i < sequence.query_length; i += tiles.kind.rows) {
      const int row = sequence.first_row + i;
      const int count = std::min(tiles.kind.rows, sequence.query_length - i);
      numbers_.insert(numbers_.end(), {row, count, batch.positions[static_cast<std::size_t>(row)],
                                       static_cast<int>(table)});
      ++tiles.count;
    }
    table += sequence.blocks[static_cast<std::size_t>(tiles.kind.group)].size();
  }
}

}  // namespace mlxd::cuda_backend
