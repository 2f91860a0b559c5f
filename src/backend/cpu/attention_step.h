#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// What attention blocks of all kinds share: the cache, the angles of positions, and the plan of who
// reads what of the cache.
class AttentionStep {
 public:
  // All references must outlive this.
  AttentionStep(const PackedModel& model, StepPhases& step, KvCache& cache);
  AttentionStep(const AttentionStep&) = delete;  // the phases point into it
  AttentionStep& operator=(const AttentionStep&) = delete;

  KvCache& cache() const { return cache_; }
  // By PackedModel::ropes, with the angles of the step's positions.
  const RopeTable& rope(int index) const { return ropes_[index]; }

  // The phases that compute angles which this step is the first to need; before all blocks.
  void add_angles();
  // Those of attention over the cache, of the rows of `to`: `data` says in the step where they
  // read and write, `finish` is told on a worker of each part of the output that is there.
  void add_tasks(const AttentionShape& shape, const Stream& to,
                 std::function<AttentionWork::Data()> data,
                 std::function<void(const AttentionWork::Finished&)> finish);

  // Where a row of the step has its keys and values in a layer of this group.
  struct Slot {
    int block = 0, tile = 0, token = 0;  // of the tile
  };
  Slot slot_of(int group, const BatchSequence& sequence, int position) const {
    const int size = cache_.block_size();
    return {sequence.blocks[group][position / size], position % size / kKeyTile,
            position % kKeyTile};
  }

  // Between two steps.
  void plan();      // after StepPhases::plan
  void complete();  // the step's phases have run
  std::size_t bytes() const;

 private:
  StepPhases& step_;
  KvCache& cache_;
  std::vector<RopeTable> ropes_;

  std::vector<Range> rope_fill_;  // by rope: positions that this step is the first to need
  std::vector<QueryRows> queries_, narrow_queries_;
  // Of the rows before the last block that writes keys and values, and of those after it: which
  // shapes there are, and by shape the work.
  struct Attentions {
    std::vector<AttentionShape> shapes;
    std::vector<AttentionWork> work;

    std::size_t index_of(const AttentionShape& shape);
  };
  Attentions all_, narrow_;                      // the second where a step narrows
  std::vector<AttentionWork::Scratch> scratch_;  // by worker
};

}  // namespace mlxd::cpu
