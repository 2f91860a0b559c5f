#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "backend/cpu/expert_choice.h"
#include "backend/cpu/feed_forward_layers.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The blocks of a model that have experts. In each, rows choose their experts; the pairs of a row
// and an expert are sorted by expert, so that an expert's weights are read once for all rows that
// chose it, and none are read that nobody chose; and every row adds up what its experts gave, in
// the order of its own choice. So a row's bits do not depend on who else chose an expert.
class ExpertLayers {
 public:
  // Both must outlive this.
  ExpertLayers(StepPhases& step, FeedForwardLayers& feed_forward);
  ExpertLayers(const ExpertLayers&) = delete;  // the phases point into it
  ExpertLayers& operator=(const ExpertLayers&) = delete;

  void add(const PackedExperts& block, const Residual* left, const Stream& stream);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of these widths.
  static std::size_t bytes_for(int rows, int experts, int chosen, int hidden_size,
                               int intermediate_size, bool shared, int own_inputs);

 private:
  // The pairs of one expert: places [first, first + rows).
  struct Segment {
    int expert, first, rows;
  };

  // A block's own, since a worker that is late may ask how many units a phase had that is over.
  struct Sorted {
    std::vector<Segment> segments;  // of the experts that somebody chose
  };

  void add_own_input(const Stream& stream, const RmsNorm& norm, Reads reads,
                     const InputBuffer& input);
  void add_choice(const PackedExperts& block, const Stream& stream, Sorted& sorted);
  void add_hidden(const PackedExperts& block, const Stream& stream, const Sorted& sorted);
  void add_output(const PackedExperts& block, const Sorted& sorted);
  void add_sum(const PackedExperts& block, const Stream& stream);

  void sort(const PackedExperts& block, int rows, Sorted& sorted);
  InputRows input_of(const Segment& segment, const Stream& stream) const;
  void sum(const PackedExperts& block, int row);

  StepPhases& step_;
  FeedForwardLayers& feed_forward_;
  std::deque<Sorted> sorted_;           // by block
  std::vector<ExpertScratch> scratch_;  // by worker
  // Of the widest block.
  int experts_ = 0, chosen_ = 0, hidden_columns_ = 0, columns_ = 0;
  bool shared_ = false, router_norm_ = false, shared_norm_ = false;

  // Of the block that is computed.
  std::vector<ChosenExpert> choices_;  // [rows, chosen]
  std::vector<int> places_;            // [rows, chosen]: where the pair is among those sorted
  std::vector<int> rows_;              // [rows * chosen], by place
  std::vector<int> next_place_;        // by expert
  RowBuffer scores_;                   // [rows, E]
  RowBuffer shared_out_, shared_weight_;
  InputBuffer router_input_, shared_input_;  // [rows, D], where they have a norm of their own
  InputBuffer gathered_;  // [rows * chosen, D], of segments of more rows than one
  InputBuffer hidden_;    // [rows * chosen, F]
  RowBuffer out_;         // [rows * chosen, D]
};

}  // namespace mlxd::cpu
