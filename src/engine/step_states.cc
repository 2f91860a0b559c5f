#include "engine/step_states.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mlxd {

void StepStates::begin(std::span<Sequence* const> running, int places) {
  if (!any()) return;
  counted_.clear();
  bool careful = false;
  for (const Sequence* sequence : running) {
    const int slot = sequence->planned_state();
    if (slot >= 0) counted_.push_back(slot);
    careful = careful || sequence->recurrent.never_in_place;
  }
  std::ranges::sort(counted_);
  const auto shared = std::ranges::unique(counted_);
  owed_ = places - static_cast<int>(counted_.size() - shared.size()) + careful;
}

void StepStates::admit(Sequence& sequence, int found) {
  if (!any()) return;
  owed_ += sequence.slots;
  if (found < 0) return;
  pool_->share(found);
  sequence.recurrent.slot = found;
}

bool StepStates::has_its_own(const Sequence& sequence) const {
  const int slot = sequence.planned_state();
  // A step that saves in place refers to its slot twice, beside the sequence.
  const int owners = sequence.recurrent.in_place_ahead > 0 ? 3 : 1;
  return slot >= 0 && !sequence.recurrent.never_in_place && pool_->owners(slot) == owners;
}

void StepStates::plan(StepPart& part) {
  const bool own = has_its_own(*part.sequence);
  part.state = part.sequence->planned_state();
  if (own && pool_->available() <= owed_) {
    if (pool_->is_kept(part.state)) cache_->forget_state(part.state);
    pool_->share(part.state);
    part.next_state = part.state;
  } else {
    part.next_state = pool_->take();
    check(part.next_state >= 0, "a slot that was counted is there");
    if (!own) owed_ = std::max(owed_ - 1, 0);
  }
  if (part.state >= 0) pool_->share(part.state);
}

// Of snapshots beyond what is to spare the last are made: they serve more of the prompts to come.
void StepStates::plan_saves(PlannedStep& step) {
  if (!any()) return;
  for (StepPart& part : step.parts) {
    part.first_save = static_cast<int>(step.saves.size());
    const int certain = part.certain_end(), end = part.first + part.rows;
    snapshots_.clear();
    if (cache_ != nullptr) collect_snapshots(*part.sequence, part.first, end);
    if (end > certain) snapshots_.push_back(end);
    std::erase(snapshots_, certain);
    const int spare = std::max(pool_->available() - owed_, 0);
    const int left_out = std::max(static_cast<int>(snapshots_.size()) - spare, 0);
    snapshots_.erase(snapshots_.begin(), snapshots_.begin() + left_out);
    snapshots_.insert(std::ranges::lower_bound(snapshots_, certain), certain);
    for (const int length : snapshots_) {
      step.saves.push_back({length, length == certain ? part.next_state : pool_->take()});
    }
    part.saves = static_cast<int>(snapshots_.size());
  }
}

// Lengths in (after, before), ascending. Of an answer the last end of a block is enough.
void StepStates::collect_snapshots(const Sequence& sequence, int after, int before) {
  const auto add = [&](int length) {
    if (length > after && length < before) snapshots_.push_back(whole_blocks(length));
  };
  add(whole_blocks(std::min(before, sequence.length()) - 1));
  if (after < sequence.prompt_length) {
    add(whole_blocks(sequence.prompt_length - 1));
    for (const int border : sequence.borders) add(whole_blocks(border));
    const int stride = every_ * block_size_;
    for (int length = after / stride * stride + stride; length < before; length += stride) {
      add(length);
    }
  }
  std::erase_if(snapshots_, [&](int length) { return !is_of_use(sequence, length); });
  std::ranges::sort(snapshots_);
  const auto repeated = std::ranges::unique(snapshots_);
  snapshots_.erase(repeated.begin(), repeated.end());
}

// What begins like its prompt may go on from there, or like its answer.
bool StepStates::is_of_use(const Sequence& sequence, int length) const {
  if (length >= sequence.prompt_length || length == whole_blocks(sequence.prompt_length - 1)) {
    return true;
  }
  const auto at_border = [&](int border) { return whole_blocks(border) == length; };
  return length % (every_ * block_size_) == 0 || std::ranges::any_of(sequence.borders, at_border);
}

void StepStates::advance(const PlannedStep& step, const StepPart& part) {
  Sequence& sequence = *part.sequence;
  for (const PlannedSave& save : saves_of(step, part)) {
    if (save.length != sequence.computed) continue;
    pool_->share(save.slot);
    release(sequence);
    sequence.recurrent.slot = save.slot;
  }
}

void StepStates::keep_snapshots(const PlannedStep& step, const StepPart& part) {
  if (cache_ == nullptr) return;
  Sequence& sequence = *part.sequence;
  for (const PlannedSave& save : saves_of(step, part)) {
    if (save.length % block_size_ != 0 || save.length > sequence.computed) continue;
    if (save.length > sequence.cached_blocks * block_size_) break;
    if (!is_of_use(sequence, save.length)) continue;
    // The step in flight writes it.
    if (save.slot == part.next_state && sequence.recurrent.in_place_ahead > 0) continue;
    const int blocks = save.length / block_size_;
    if (!cache_->keep_state(sequence.blocks, blocks, save.slot)) continue;
    if (save.length < sequence.prompt_length) {
      cache_->note_lasting(sequence.blocks, blocks);
      continue;
    }
    // Of an answer its end is what others may go on from.
    const int before = std::exchange(sequence.recurrent.last_snapshot, blocks);
    if (before > 0) cache_->let_state_go_first(sequence.blocks, before);
  }
}

void StepStates::settle(const PlannedStep& step, const StepPart& part) {
  Sequence& sequence = *part.sequence;
  int saved = part.first;
  for (const PlannedSave& save : saves_of(step, part)) {
    if (save.length <= sequence.computed) saved = save.length;
  }
  if (saved == sequence.computed) return;
  sequence.computed_kv = std::exchange(sequence.computed, saved);
}

void StepStates::release(PlannedStep& step) noexcept {
  if (!any()) return;
  for (const StepPart& part : step.parts) {
    if (part.state >= 0) pool_->drop(part.state);
  }
  for (const PlannedSave& save : step.saves) pool_->drop(save.slot);
  step.saves.clear();
}

void StepStates::share(const Sequence& parent, Sequence& child) {
  if (parent.recurrent.slot < 0) return;
  pool_->share(parent.recurrent.slot);
  child.recurrent.slot = parent.recurrent.slot;
}

void StepStates::release(Sequence& sequence) noexcept {
  const int slot = std::exchange(sequence.recurrent.slot, -1);
  if (slot >= 0) pool_->drop(slot);
}

void StepStates::reset() noexcept {
  if (any()) pool_->reset();
}

void StepStates::check_integrity(std::span<const Sequence* const> sequences,
                                 std::span<const PlannedStep* const> steps, int moved) const {
  if (!any()) return;
  std::vector<int> owned;
  if (moved >= 0) owned.push_back(moved);
  for (const Sequence* sequence : sequences) {
    check((sequence->recurrent.slot >= 0) == (sequence->computed > 0),
          "a sequence has a state once it has computed something");
    if (sequence->recurrent.slot >= 0) owned.push_back(sequence->recurrent.slot);
  }
  for (const PlannedStep* step : steps) {
    for (const StepPart& part : step->parts) {
      if (part.state >= 0) owned.push_back(part.state);
    }
    for (const PlannedSave& save : step->saves) owned.push_back(save.slot);
  }
  pool_->check_integrity(owned);
}

}  // namespace mlxd
