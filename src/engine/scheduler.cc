#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mlxd {
namespace {

// It has no blocks and is to be computed from its first token on.
void wait_again(Sequence& sequence) {
  sequence.blocks.clear();
  sequence.recurrent.slot = -1;
  sequence.recurrent.in_place_ahead = 0;
  sequence.computed = sequence.computed_kv = 0;
  sequence.recurrent.last_snapshot = 0;
  sequence.cached_blocks = 0;
  sequence.draft_rows = 0;
  sequence.state = Sequence::State::waiting;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, BlockPools& blocks, PrefixGroups* cache,
                     StatePool* states)
    : limits_(limits),
      blocks_(blocks),
      cache_(cache),
      states_(states, cache, limits.block_size, limits.snapshot_blocks),
      step_tokens_(limits.max_step_tokens),
      batch_(blocks, limits.block_size, limits.draws),
      single_(blocks, limits.block_size, limits.draws) {
  check(states == nullptr || states->total() > limits.max_sequences,
        "there are more slots for states than sequences that run");
}

void Scheduler::add(Sequence& sequence) {
  sequence.state = Sequence::State::waiting;
  queue_.join(sequence);
  queue_.push(sequence);
}

void Scheduler::fork(Sequence& parent, Sequence& child) {
  child.priority = parent.priority;
  child.caller = parent.caller;
  child.cache_salt = parent.cache_salt;
  child.holds = parent.holds;
  queue_.join(child);
  enter_full_blocks(parent);  // so that no two sequences have the same blocks yet to enter
  blocks_.let_go(parent.blocks, parent.computed);
  blocks_.share(parent.blocks, child.blocks);
  states_.share(parent, child);
  child.computed = parent.computed;
  child.cached_blocks = parent.cached_blocks;
  run(child);
}

void Scheduler::run(Sequence& sequence) {
  running_.insert(std::ranges::upper_bound(running_, &sequence, FirstFirst()), &sequence);
  sequence.state = Sequence::State::running;
}

void Scheduler::remove(Sequence& sequence) noexcept {
  if (sequence.state == Sequence::State::finished) return;
  enter_full_blocks(sequence);
  keep_last_snapshots(sequence);
  hold_prefixes(sequence);
  states_.release(sequence);
  std::erase(running_, &sequence);
  std::erase(set_aside_, &sequence);
  preempted_waiting_ -= sequence.preempted;
  queue_.leave(sequence);
  sequence.state = Sequence::State::finished;
  if (sequence.steps_ahead == 0) blocks_.release(sequence.blocks);
}

void Scheduler::discard(Sequence& sequence) noexcept {
  if (cache_ != nullptr) cache_->forget(sequence.blocks);
  sequence.computed = 0;  // so that `remove` enters nothing
  remove(sequence);
}

void Scheduler::reset() noexcept {
  queue_.clear();
  for (auto* list : {&running_, &preempted_, &set_aside_}) list->clear();
  for (PlannedStep* step : {&older_, &step_}) {
    for (const StepPart& part : step->parts) {
      Sequence& sequence = *part.sequence;
      sequence.steps_ahead = sequence.rows_ahead = sequence.tokens_ahead = 0;
      if (sequence.state == Sequence::State::finished) sequence.blocks.clear();
    }
    step->parts.clear();
    step->copies.clear();
    step->saves.clear();
  }
  two_ = false;
  preempted_waiting_ = 0;
  if (cache_ != nullptr) cache_->clear();
  blocks_.reset();
  states_.reset();
}

void Scheduler::restart(Sequence& sequence) noexcept {
  sequence.preempted = sequence.preempted || sequence.state == Sequence::State::running;
  preempted_waiting_ += sequence.preempted;
  wait_again(sequence);
  queue_.push(sequence);
}

void Scheduler::recompute(Sequence& sequence) noexcept {
  queue_.erase(sequence);
  give_up(sequence);
  std::erase(running_, &sequence);
  sequence.recurrent.never_in_place = true;
  queue_.push(sequence);
}

// What a step in flight leads to is known but for the tokens themselves, and all who go on have
// their blocks without anybody's being preempted.
bool Scheduler::can_plan_ahead() {
  if (two_) return false;
  for (const StepPart& part : step_.parts) {
    const bool forks = part.draws > 0 && part.sequence->slots > 1;
    if (part.drafted > 0 || forks || part.logit_rows > part.draws) return false;
  }
  const auto needed = std::ranges::count_if(
      running_, [&](const Sequence* s) { return s->decoding() && !s->paused && needs_block(*s); });
  if (needed > blocks_.available()) return false;
  if (running_.empty()) return true;
  const Sequence* next = queue_.next(/*admitting=*/true).sequence;
  return next == nullptr || next->state != Sequence::State::waiting ||
         next->priority <= running_.back()->priority;
}

// From here on the step counts as in flight.
void Scheduler::take_off() {
  for (std::size_t i = 0; i < step_.parts.size(); ++i) {
    const StepPart& part = step_.parts[i];
    Sequence& sequence = *part.sequence;
    if (states_.any()) states_.take_off(part);
    ++sequence.steps_ahead;
    sequence.rows_ahead += part.rows - part.drafted;
    sequence.tokens_ahead += part.draws > 0;
    // A piece of a prompt may leave nothing but its last token, which is then decoded.
    if (i >= step_.first_prompt_part && sequence.decoding()) queue_.erase(sequence);
  }
  for (Sequence* sequence : set_aside_) {
    if (sequence->planned() < sequence->expected_length() - 1) queue_.push(*sequence);
  }
  set_aside_.clear();
}

void Scheduler::land(PlannedStep& step) noexcept {
  if (std::exchange(step.landed, true)) return;
  for (const StepPart& part : step.parts) {
    Sequence& sequence = *part.sequence;
    if (states_.any()) states_.land(part);
    --sequence.steps_ahead;
    sequence.rows_ahead -= part.rows - part.drafted;
    sequence.tokens_ahead -= part.draws > 0;
    if (sequence.state == Sequence::State::finished && sequence.steps_ahead == 0) {
      blocks_.release(sequence.blocks);
    }
  }
}

void Scheduler::advance(const StepPart& part, int rows) {
  part.sequence->computed += rows;
  if (states_.any()) states_.advance(oldest(), part);
}

// A block that is copied keeps its contents until the step is over, since the step may have to be
// repeated in parts; only then may its last reference go.
void Scheduler::finish_step() {
  PlannedStep& step = oldest();
  land(step);
  for (const BlockCopy& copy : step.copies) blocks_.copied(copy);
  for (const StepPart& part : step.parts) {
    Sequence& sequence = *part.sequence;
    if (sequence.state != Sequence::State::running) continue;
    if (part.drafted > 0) {
      queue_.charge(sequence, std::max(sequence.computed - part.first_logit - 1, 0));
      blocks_.shorten(sequence.blocks, blocks_for(sequence.computed));
    }
    if (states_.any()) states_.settle(step, part);
    enter_full_blocks(sequence);
    if (states_.any()) states_.keep_snapshots(step, part);
    // Its rows in flight begin here or later.
    blocks_.let_go(sequence.blocks, sequence.computed);
  }
  states_.release(step);
  step.copies.clear();
  step.parts.clear();
  two_ = false;
}

// Of the oldest step, which it ends with. The end of an answer may be gone on from.
void Scheduler::keep_last_snapshots(const Sequence& sequence) noexcept {
  if (!states_.any()) return;
  for (const StepPart& part : oldest().parts) {
    if (part.sequence == &sequence) states_.keep_snapshots(oldest(), part);
  }
  const int last = sequence.recurrent.last_snapshot;
  if (last == 0) return;
  if (limits_.roles) {
    cache_->let_state_go_first(sequence.blocks, last);  // prompts alone are looked for
  } else {
    cache_->note_lasting(sequence.blocks, last);
  }
}

// Whatever became of the last step: `computed` counts what is certainly in the KV cache.
void Scheduler::enter_full_blocks(Sequence& sequence) {
  if (cache_ == nullptr || sequence.state != Sequence::State::running) return;
  if (sequence.computed < (sequence.cached_blocks + 1) * limits_.block_size) return;
  sequence.cached_blocks =
      cache_->enter(sequence.cache_salt, prefix_of(sequence, sequence.computed), sequence.blocks,
                    sequence.cached_blocks);
}

PrefixTokens Scheduler::prefix_of(const Sequence& sequence, int length) const {
  return {std::span(sequence.tokens).first(length),
          limits_.roles ? sequence.prompt_length : PrefixTokens::kAll};
}

void Scheduler::hold_prefixes(const Sequence& sequence) noexcept {
  if (cache_ == nullptr) return;
  // Where roles differ nobody finds more than its prompt.
  const int most = limits_.roles ? sequence.prompt_length : PrefixTokens::kAll;
  for (const HeldPrefix& held : sequence.holds) {
    const int tokens = std::min(held.tokens, most);
    const int blocks = std::min(tokens / limits_.block_size, sequence.cached_blocks);
    cache_->hold(sequence.blocks, blocks, held.time);
  }
}

void Scheduler::give_up(Sequence& sequence) noexcept {
  hold_prefixes(sequence);
  blocks_.release(sequence.blocks);
  states_.release(sequence);
  wait_again(sequence);
  sequence.preempted = true;
  ++preempted_waiting_;
}

}  // namespace mlxd
