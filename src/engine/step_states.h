#pragma once

#include <span>
#include <vector>

#include "engine/planned_step.h"
#include "engine/prefix_groups.h"
#include "engine/sequence.h"
#include "engine/state_pool.h"

namespace mlxd {

// Recurrent states beside KV: which slot each sequence of a step reads and which it saves to, and
// what becomes of them when the step is over. Part of the Scheduler; for models without states,
// nothing. Inference thread only.
//
// A sequence that runs has one slot for itself, of which there are more than can run. It goes on
// from one slot to another, so that a step may be repeated; for that it takes a slot that nobody
// needs, and where there is none it saves in place. Who cannot do even that, since others read its
// slot too, or it has none yet, waits for the next step; the one whose turn it is finds a slot when
// no step is in flight.
//
// A step owns the slots that it reads and writes until it is over, whatever becomes of its
// sequences, so nothing is written that a step in flight reads.
//
// Snapshots are states at blocks' ends that the prefix cache keeps (PrefixGroups): before the last
// token of what a sequence begins with, at the borders that its job names, every so many blocks,
// and at the last end of a block that it has passed. They take slots that nobody needs.
class StepStates {
 public:
  // Without a pool: a model without states. Without a cache there are no snapshots. `every`: blocks
  // between two snapshots of a long prompt.
  StepStates(StatePool* pool, PrefixGroups* cache, int block_size, int every)
      : pool_(pool), cache_(cache), block_size_(block_size), every_(every) {}

  bool any() const { return pool_ != nullptr; }

  // A step is planned for these, and others that are admitted to it. `places`: sequences that they
  // are, or will fork into.
  void begin(std::span<Sequence* const> running, int places);
  void admit(Sequence& sequence, int found);  // `found`: the slot at the end of its prefix, or -1
  // Whether it finds a slot to save to in this step.
  bool can_go_on(const Sequence& sequence) const {
    return !any() || has_its_own(sequence) || pool_->available() > 0;
  }
  // Gives a part of such a sequence its slots. This, and what follows of parts, is for models with
  // states alone.
  void plan(StepPart& part);
  // All parts are what they will be: fills the step's saves.
  void plan_saves(PlannedStep& step);
  void take_off(const StepPart& part) {
    part.sequence->recurrent.slot_ahead = part.next_state;
    part.sequence->recurrent.in_place_ahead += part.in_place();
  }
  void land(const StepPart& part) noexcept {
    part.sequence->recurrent.in_place_ahead -= part.in_place();
  }

  // The sequence has certainly computed more of the part: where a state was saved after what it has
  // now, it goes on from there.
  void advance(const PlannedStep& step, const StepPart& part);
  // Once its blocks are in the prefix cache, the snapshots of the part hang on them.
  void keep_snapshots(const PlannedStep& step, const StepPart& part);
  // The part is delivered. Tokens behind the last state that was saved are to be fed again.
  void settle(const PlannedStep& step, const StepPart& part);
  // The step is over.
  void release(PlannedStep& step) noexcept;

  void share(const Sequence& parent, Sequence& child);
  void release(Sequence& sequence) noexcept;
  void reset() noexcept;

  // `moved`: a slot that somebody else owns, or -1. Broken: the process ends, naming what broke.
  void check_integrity(std::span<const Sequence* const> sequences,
                       std::span<const PlannedStep* const> steps, int moved) const;

 private:
  // It may save where it reads.
  bool has_its_own(const Sequence& sequence) const;
  bool is_of_use(const Sequence& sequence, int length) const;
  int whole_blocks(int tokens) const { return tokens / block_size_ * block_size_; }
  void collect_snapshots(const Sequence& sequence, int after, int before);
  std::span<const PlannedSave> saves_of(const PlannedStep& step, const StepPart& part) const {
    return std::span(step.saves).subspan(part.first_save, part.saves);
  }

  StatePool* const pool_;
  PrefixGroups* const cache_;
  const int block_size_;
  const int every_;
  int owed_ = 0;                // slots for those who have none of their own, in this step
  std::vector<int> counted_;    // of begin(): slots that were counted
  std::vector<int> snapshots_;  // of plan_saves(): lengths
};

}  // namespace mlxd
