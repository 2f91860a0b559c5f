#pragma once

#include <cstddef>
#include <optional>

#include "backend/cpu/attention_step.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The attention blocks of a model, and what they share: queries, keys and values of a step's rows.
class AttentionLayers {
 public:
  // Both must outlive this.
  AttentionLayers(StepPhases& step, AttentionStep& attention)
      : step_(step), attention_(attention) {}
  AttentionLayers(const AttentionLayers&) = delete;  // the phases point into it
  AttentionLayers& operator=(const AttentionLayers&) = delete;

  // `from` has the rows that it reads, `to` those that go on after its keys and values.
  void add(const PackedAttention& block, const Residual* left, const Stream& from,
           const Stream& to);

  // Between two steps.
  void reserve(int rows);
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
  void finish(const PackedAttention& block, Reads reads, const AttentionWork::Finished& part);

  StepPhases& step_;
  AttentionStep& attention_;
  int query_columns_ = 0, kv_columns_ = 0, gate_columns_ = 0;  // of the widest block

  RowBuffer query_, key_, value_, gate_;  // [rows, ...]
  InputBuffer attended_;
};

}  // namespace mlxd::cpu
