#include "backend/cpu/attention_step.h"

#include <algorithm>
#include <utility>

namespace mlxd::cpu {
namespace {

// The angles of so many positions one worker computes sooner by itself than two that share them.
constexpr int kFewPositions = 4;

}  // namespace

AttentionStep::AttentionStep(const PackedModel& model, StepPhases& step, KvCache& cache)
    : step_(step), cache_(cache), scratch_(step.workers()) {
  for (const Rope& rope : model.ropes) ropes_.emplace_back(rope, model.context_length);
  rope_fill_.resize(ropes_.size());
}

void AttentionStep::add_angles() {
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    step_.add_grains(
        kFewPositions, [this, i] { return rope_fill_[i].end - rope_fill_[i].first; },
        [this, i](int, Range part) {
          ropes_[i].fill(rope_fill_[i].first + part.first, rope_fill_[i].first + part.end);
        });
  }
}

void AttentionStep::add_tasks(const AttentionShape& shape, const Stream& to,
                              std::function<AttentionWork::Data()> data,
                              std::function<void(const AttentionWork::Finished&)> finish) {
  const bool last = &to == &step_.last();
  const std::size_t index = all_.index_of(shape);
  const std::size_t narrow_index = last ? narrow_.index_of(shape) : 0;
  const auto work = [this, last, index, narrow_index]() -> AttentionWork& {
    return last && step_.narrows() ? narrow_.work[narrow_index] : all_.work[index];
  };
  const auto add_part = [&](auto count, auto compute) {
    const auto run = [this, data, finish, work, compute](int worker, int first, int end) {
      const AttentionWork::Data of = data();
      for (int i = first; i < end; ++i) {
        finish((work().*compute)(i, step_.ops(), of, scratch_[worker]));
      }
    };
    step_.add({.units = [work, count] { return (work().*count)(); }, .run = run, .in_order = true});
  };
  add_part(&AttentionWork::tasks, &AttentionWork::run);
  add_part(&AttentionWork::folds, &AttentionWork::fold);
}

std::size_t AttentionStep::Attentions::index_of(const AttentionShape& shape) {
  const auto known = std::find(shapes.begin(), shapes.end(), shape);
  const auto index = static_cast<std::size_t>(known - shapes.begin());
  if (known == shapes.end()) {
    shapes.push_back(shape);
    work.emplace_back();
  }
  return index;
}

void AttentionStep::plan() {
  const Batch& batch = step_.batch();
  int end_position = 0;
  for (const int position : batch.positions) end_position = std::max(end_position, position + 1);
  for (std::size_t i = 0; i < ropes_.size(); ++i) {
    rope_fill_[i] = {ropes_[i].positions(), std::max(end_position, ropes_[i].positions())};
    ropes_[i].make_room(end_position);
  }
  queries_.clear();
  narrow_queries_.clear();
  int narrow_rows = 0;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const BatchSequence& sequence = batch.sequences[s];
    const int prompt = step_.has_unit() ? sequence.prompt_rows : 0;
    const int other = sequence.query_length - prompt, index = static_cast<int>(s);
    if (prompt > 0) queries_.push_back({index, sequence.first_row, prompt, /*prompt=*/true});
    if (other > 0) queries_.push_back({index, sequence.first_row + prompt, other});
    QueryRows narrow{index, narrow_rows, 0};
    for (int i = 0; i < sequence.query_length; ++i) {
      narrow.rows += step_.narrow_index()[sequence.first_row + i] >= 0;
    }
    narrow_rows += narrow.rows;
    narrow_queries_.push_back(narrow);
  }
  for (std::size_t i = 0; i < all_.shapes.size(); ++i) {
    all_.work[i].plan(all_.shapes[i], queries_, batch.positions, step_.workers());
  }
  for (std::size_t i = 0; step_.narrows() && i < narrow_.shapes.size(); ++i) {
    narrow_.work[i].plan(narrow_.shapes[i], narrow_queries_, step_.positions(step_.last()),
                         step_.workers());
  }
}

void AttentionStep::complete() {
  for (std::size_t i = 0; i < ropes_.size(); ++i) ropes_[i].have(rope_fill_[i].end);
}

std::size_t AttentionStep::bytes() const {
  std::size_t bytes = 0;
  for (const Attentions* of : {&all_, &narrow_}) {
    for (const AttentionWork& work : of->work) bytes += work.bytes();
  }
  for (const RopeTable& rope : ropes_) bytes += rope.bytes();
  for (const AttentionWork::Scratch& scratch : scratch_) bytes += scratch.bytes();
  return bytes;
}

}  // namespace mlxd::cpu
