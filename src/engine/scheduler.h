#pragma once

#include <algorithm>
#include <vector>

#include "engine/block_pools.h"
#include "engine/planned_step.h"
#include "engine/prefix_groups.h"
#include "engine/prompt_queue.h"
#include "engine/sequence.h"
#include "engine/state_pool.h"
#include "engine/step_batch.h"
#include "engine/step_states.h"

namespace mlxd {

// Rows of prompts that a step has room for at least, however many sequences decode.
inline constexpr int kLeastPromptRows = 4;

struct SchedulerLimits {
  int max_sequences = 64;     // rows of a decode step
  int max_step_tokens = 512;  // rows of a step, at least max_sequences
  int max_logit_rows = 128;   // rows with logits in a step, more than max_sequences
  int block_size = 16;
  bool draws = false;       // the runner hands out tokens; logits only of prompts
  bool roles = false;       // of the runner: RunnerInfo::has_roles
  bool whole = false;       // a sequence is computed in one step or in none: it is not causal
  int snapshot_blocks = 1;  // of recurrent states: between two in a long prompt (StepStates)
};

// Decides what the next step computes. Pure bookkeeping over sequences that others own: no
// channels, no clock, no device. Inference thread only.
//
// Sequences that decode come first in every step, so that running streams keep their pace; prompts
// fill what is left of the step, in the turns of PromptQueue: higher priorities first, then fairly
// between callers, then first come, first served. Who cannot be admitted for want of places or
// blocks holds up all who would be admitted after it, so nothing large waits for ever.
//
// When blocks run out, the youngest running sequence of the lowest priority gives up its own and is
// computed again later, but those whose reader is behind (paused) go before it. The oldest of the
// highest priority can therefore always go on. A sequence that waits takes places and blocks from
// those of lower priority in the same way, and from nobody else.
//
// In windowed KV groups a sequence holds the window of its next row, and what its rows in this step
// write; every running one has a reserve there (BlockPools), so all of the above is about the full
// group. What the window has passed is let go when a step is over, and a prompt is cut into chunks
// that find room.
//
// Of a model that is not causal a sequence is planned whole: as many as fit the step, and one at
// least that fits max_step_tokens, in the same order.
//
// With a prefix cache a sequence begins with the blocks of its longest known prefix, and every
// block that a step filled is entered when the step is over.
//
// Recurrent states are the business of StepStates. A sequence for whose next state there is no slot
// is left out of a step, but never while no other is in flight.
//
// A sequence that decodes may have a draft: guesses at the tokens after its last one, whose rows
// come after that token's and give logits as well. Drafts take what rows, logits and blocks all
// others have left, displace nobody, and their blocks are free again when the step is over.
//
// A step may be planned while the one before it runs, as if that one had done what it will. So
// only what is known beforehand of a step in flight is built on: of drafts, forks and rows with
// logits of prompts it is not known what they lead to, and nobody with rows in flight is preempted;
// can_plan_ahead says when the step in flight is to be waited for instead. A sequence that has
// ended all the same has rows in the next step that nobody reads, and its blocks until that is
// over.
class Scheduler {
 public:
  // `cache` may be null: every prefix is then computed. `states`, of models that have some, has
  // more slots than max_sequences.
  Scheduler(const SchedulerLimits& limits, BlockPools& blocks, PrefixGroups* cache = nullptr,
            StatePool* states = nullptr);

  void add(Sequence& sequence);
  // The child joins the running ones as a second owner of the parent's blocks and state.
  void fork(Sequence& parent, Sequence& child);
  // Frees its blocks, or has them freed when the last step with rows of it has landed: until then
  // the sequence must live on. Needs no memory; nor is it harmed by an `add` or `fork` of the
  // sequence that threw.
  void remove(Sequence& sequence) noexcept;
  // As remove, for a sequence that failed: nobody is to find what it had computed.
  void discard(Sequence& sequence) noexcept;

  // Its state was lost, as when a step that saved it in place has failed: it gives up what it has
  // and waits to be computed again, in place no more. No step with rows of it is in flight.
  void recompute(Sequence& sequence) noexcept;

  // After an exception, when no plan, count or table can be relied on: all blocks are free, the
  // cache is empty, and every sequence that is not finished is to be restarted, which computes it
  // again. Neither needs memory.
  void reset() noexcept;
  void restart(Sequence& sequence) noexcept;

  // Rows of the next steps, at most max_step_tokens; a few more than the running sequences at
  // least, so that prompts go on however many decode.
  void set_step_tokens(int tokens) { step_tokens_ = tokens; }

  // Plans the next step, with the one planned before in flight or, as usual, over.
  void schedule(bool ahead = false);
  // Whether the next step may be planned while the last one is in flight.
  bool can_plan_ahead();
  const std::vector<StepPart>& parts() const { return step_.parts; }
  // As planned last, and the one before it while it is not over.
  PlannedStep& newest() { return step_; }
  PlannedStep& oldest() { return two_ ? older_ : step_; }
  // The runner is done with the step, whatever became of it: its sequences' rows are in flight no
  // more. Then it is delivered, or repeated.
  void land(PlannedStep& step) noexcept;
  // Of a part of the oldest step, after it worked, so many more rows are computed: of drafted ones
  // those alone that came true, one by one.
  void advance(const StepPart& part, int rows);
  // The oldest step is over, with all its repetitions; nothing of it is left.
  void finish_step();
  // The step as the runner reads it. Valid until anything else here is called.
  const Batch& batch() const { return batch_.batch(); }
  // One part of a step that has landed, alone, or less of it, for the repetition of a failed step.
  // Valid as long.
  const Batch& single(const PlannedStep& step, const StepPart& part) {
    return single_.build_single(step, part);
  }

  // Sequences that will take part in the next step with their next token.
  int decoding() const {
    return static_cast<int>(std::ranges::count_if(
        running_, [](const Sequence* s) { return s->decoding() && !s->paused; }));
  }
  const std::vector<Sequence*>& running() const { return running_; }  // as they are served
  int waiting() const { return queue_.waiting(); }
  int preempted() const { return preempted_waiting_; }  // of the waiting ones, those that had begun
  std::uint64_t preemptions() const { return preemptions_; }

  // `moved`: a slot that somebody else owns, or -1.
  void check_integrity(int moved = -1) const;

 private:
  void run(Sequence& sequence);
  int ended_in_flight() const;
  void make_way();
  void plan_decodes();
  void plan_prompts();
  // What a waiting sequence takes when it is admitted.
  struct Needs {
    BlockTables prefix;  // found in the cache
    int state = -1;      // slot with the state at its end
    int fresh = 0;       // blocks beside it
  };
  Needs needs_of(const Sequence& sequence) const;
  bool fits(const Needs& needs) const;
  bool admit(Sequence& sequence);
  void enter_full_blocks(Sequence& sequence);
  PrefixTokens prefix_of(const Sequence& sequence, int length) const;
  void keep_last_snapshots(const Sequence& sequence) noexcept;
  void hold_prefixes(const Sequence& sequence) noexcept;
  void plan_drafts();
  bool make_room_for_next_token(Sequence& sequence, StepPart& part);
  template <class MayGo>
  bool preempt_last(MayGo may_go);
  int plan_chunk(Sequence& sequence, int most);
  bool has_room_for_whole(const Sequence& sequence);
  std::vector<StepPart>::iterator part_of(const Sequence& sequence);
  void resize(StepPart& part, int rows);
  int blocks_for(int tokens) const {
    return (tokens + limits_.block_size - 1) / limits_.block_size;
  }
  void give_up(Sequence& sequence) noexcept;
  void settle_preempted();
  void take_off();
  bool needs_block(const Sequence& sequence) const;

  const SchedulerLimits limits_;
  BlockPools& blocks_;
  PrefixGroups* const cache_;
  StepStates states_;
  int step_tokens_;
  PromptQueue queue_;
  std::vector<Sequence*> running_;    // in the order in which they are served
  std::vector<Sequence*> preempted_;  // in this schedule(), still in running_
  std::vector<Sequence*> set_aside_;  // in this schedule(), out of the queue until it is planned
  PlannedStep step_, older_;
  bool two_ = false;  // older_ is not over
  int slots_ = 0;     // of the running sequences, while a step is planned
  int tokens_left_ = 0, logits_left_ = 0;
  StepBatch batch_, single_;
  int preempted_waiting_ = 0;
  std::uint64_t preemptions_ = 0;
};

}  // namespace mlxd
