#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "backend/cpu/attention.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The attention blocks of a model, and what they share: queries, keys and values of a step's rows,
// angles, and the plan of who reads what of the cache.
class AttentionLayers {
 public:
  // All references must outlive this.
  AttentionLayers(const PackedModel& model, StepPhases& step, KvCache& cache);
  AttentionLayers(const AttentionLayers&) = delete;  // the phases point into it
  AttentionLayers& operator=(const AttentionLayers&) = delete;

  // The phases that compute angles which this step is the first to need; before all blocks.
  void add_angles();
  // `from` has the rows that it reads, `to` those that go on after its keys and values.
  void add(const PackedAttention& block, const Residual* left, const Stream& from,
           const Stream& to);

  // Between two steps.
  void reserve(int rows);
  void plan();      // after StepPhases::plan
  void complete();  // the step's phases have run
  std::size_t bytes() const;

 private:
  void add_row_norm(const Stream& stream, const std::optional<RmsNorm>& norm,
                    const RowBuffer& rows);
  void add_rotation(const PackedAttention& block, const Stream& to);
  void add_tasks(const PackedAttention& block, const Stream& to);

  void store_keys(const PackedAttention& block, Range heads);
  void rotate_queries(const PackedAttention& block, const Stream& to, Range heads);
  void turn(const PackedAttention& block, const std::optional<RmsNorm>& norm, int position,
            float* head);
  void finish(const PackedAttention& block, const AttentionWork::Finished& part);

  StepPhases& step_;
  KvCache& cache_;
  std::vector<RopeTable> ropes_;
  int query_columns_ = 0, kv_columns_ = 0, gate_columns_ = 0;  // of the widest block

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

  RowBuffer query_, key_, value_, gate_;  // [rows, ...]
  InputBuffer attended_;
};

}  // namespace mlxd::cpu
