// The engine's part in scheduler_model_test.cc, played at random, and what the Scheduler promises
// beside what ModelCache sees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/scheduler.h"
#include "engine/scheduler_model.h"

namespace mlxd::testing {

inline constexpr int kBlockSize = 4;

// A seed's last digit in base 4; the next, in base 3, is for the states, the last for steps ahead.
inline const std::vector<KvGroup> kGroups[] = {
    {{.window = 0}},
    {{.window = 0}, {.window = 6}},
    {{.window = 9}, {.window = 0}, {.window = 1}},
    {{.window = 7}},
};

using State = Sequence::State;

// The engine's part, played at random.
class World {
 public:
  explicit World(unsigned seed)
      : random_(seed),
        limits_{.max_sequences = 3 + die(8), .max_logit_rows = 24, .block_size = kBlockSize},
        groups_(kGroups[seed % std::size(kGroups)]),
        longest_(12 + die(60)),
        states_kind_(seed / 4 % 3),
        may_plan_ahead_(seed / 12 % 2 == 1),
        has_roles_(seed % 7 % 2 == 1),
        plan_(plan()),
        blocks_(groups_, kBlockSize, plan_),
        kv_(info(), plan_.size, [this](const Sequence& sequence, int index) {
          return index < sequence.length() ? sequence.tokens[index]
                                           : token_of(life_of(sequence)->text, index);
        }) {
    limits_.max_step_tokens = limits_.max_sequences + 4 + die(40);
    limits_.draws = may_plan_ahead_;
    limits_.roles = has_roles_;
    limits_.snapshot_blocks = 1 + die(4);
    if (has_states()) states_ = std::make_unique<StatePool>(plan_.size.states);
    if (seed % 5 != 0) {
      cache_ = std::make_unique<PrefixGroups>(blocks_, kBlockSize, states_.get());
    }
    scheduler_ = std::make_unique<Scheduler>(limits_, blocks_, cache_.get(), states_.get());
    set_step_tokens(limits_.max_step_tokens);
  }

  void run(int operations) {
    while (operations_ < operations && !::testing::Test::HasFatalFailure()) {
      operate();
      if (operations_ % 4000 == 0) drain();
    }
    drain();
  }

  std::uint64_t preemptions() const { return scheduler_->preemptions(); }
  int finished() const { return finished_; }
  int found() const { return found_; }
  bool finds() const { return cache_ != nullptr; }
  int accepted() const { return accepted_; }

  bool has_states() const { return states_kind_ > 0; }
  int recomputed() const { return recomputed_; }
  bool saves_in_place() const { return states_kind_ == 2; }
  bool plans_ahead() const { return may_plan_ahead_; }
  int planned_ahead() const { return planned_ahead_; }

 private:
  RunnerInfo info() const {
    RunnerInfo info;
    info.vocab_size = 1000;
    info.context_length = 1 << 20;
    info.block_size = kBlockSize;
    info.kv = groups_;
    info.state_bytes = has_states();
    info.draws = may_plan_ahead_;
    info.has_roles = has_roles_;
    return info;
  }

  // Little beyond the reserves of windowed groups, so that chunks are cut to what has room.
  CachePlan plan() {
    CachePlan plan;
    plan.max_sequences = limits_.max_sequences;
    plan.token_blocks = longest_;
    for (const KvGroup& group : groups_) {
      const bool full = group.window == 0;
      plan.reserve.push_back(full ? 0 : (group.window + kBlockSize - 1) / kBlockSize + 2);
      plan.size.blocks.push_back(full ? longest_
                                      : plan.reserved(plan.reserve.size() - 1) + die(12));
    }
    const int most = plan.max_sequences;
    if (states_kind_ == 1) plan.size.states = 4 * most + die(30);
    if (states_kind_ == 2) plan.size.states = most + 1 + die(2);
    return plan;
  }

  int die(int sides) { return static_cast<int>(random_() % static_cast<unsigned>(sides)); }

  void operate() {
    ++operations_;
    if (cache_) cache_->set_now(TimePoint(std::chrono::seconds(operations_ / 100)));
    const int what = die(100);
    if (what < 30 && lives_.size() < 24) {
      add();
    } else if (what < 55 && !lives_.empty()) {
      Sequence& sequence = pick()->sequence;
      sequence.paused = !sequence.paused && die(2) == 0;
    } else if (what < 58 && !lives_.empty()) {
      if (Life* life = pick(); life->sequence.state != State::finished) end(life, die(3) == 0);
      if (in_flight_ == 0) bury();
    } else if (what < 60) {
      set_step_tokens(1 + die(limits_.max_step_tokens));
    } else {
      step();
    }
  }

  void add() {
    auto life = std::make_unique<Life>();
    const int most = longest_ * kBlockSize;
    const int prompt = 1 + die(die(8) == 0 ? most - 1 : std::min(40, most - 1));
    life->end = std::min(prompt + 1 + die(die(8) == 0 ? most : 20), most);
    life->text = ++arrivals_;
    life->samples = die(6) == 0 ? 1 + die(3) : 1;
    life->prompt_logits = die(8) == 0;
    Sequence& sequence = life->sequence;
    sequence.age = arrivals_;
    sequence.caller = die(4);
    sequence.priority = die(3) == 0 ? die(kHighestPriority + 1) : 0;
    sequence.cache_salt = die(2);
    sequence.slots = life->samples;
    // Prompts of a family begin alike and part somewhere.
    const std::uint64_t family = 1'000'000 + die(3);
    // Some go on as prompts of their family do, so that a prompt may be what another has said.
    const bool typical = die(4) == 0;
    if (typical) life->text = family;
    const int common = typical ? prompt : die(prompt + 1);
    for (int i = 0; i < prompt; ++i) {
      sequence.tokens.push_back(token_of(i < common ? family : life->text, i));
    }
    sequence.prompt_length = prompt;
    sequence.most_tokens = life->end;
    if (die(2) == 0) life->borders.assign({die(prompt + 1), die(prompt + 1)});
    std::ranges::sort(life->borders);
    sequence.borders = life->borders;
    if (arrivals_ % 3 == 0) life->holds = {{prompt, std::chrono::seconds(arrivals_ % 50)}};
    if (arrivals_ % 7 == 0) life->holds.push_back({most, std::chrono::seconds(5)});
    sequence.holds = life->holds;
    life->want_logits();
    scheduler_->add(sequence);
    lives_.push_back(std::move(life));
  }

  void set_step_tokens(int tokens) {
    step_tokens_ = tokens;
    scheduler_->set_step_tokens(tokens);
  }

  Life* pick() { return lives_[die(static_cast<int>(lives_.size()))].get(); }

  // The sequence stays until nothing refers to it any more.
  void end(Life* life, bool failed) {
    failed ? scheduler_->discard(life->sequence) : scheduler_->remove(life->sequence);
    ASSERT_EQ(life->sequence.state, State::finished);
    ASSERT_TRUE(life->sequence.steps_ahead > 0 || life->sequence.blocks.empty());
    ASSERT_EQ(life->sequence.recurrent.slot, -1);
    ++finished_;
  }

  void bury() {
    std::erase_if(lives_, [](const auto& life) {
      return life->sequence.state == State::finished && life->sequence.steps_ahead == 0;
    });
  }

  // As the inference loop's turn.
  void step() {
    const bool ahead = in_flight_ > 0;
    bool launched = false;
    if (!ahead || scheduler_->can_plan_ahead()) {
      launched = launch(ahead);
      if (::testing::Test::HasFatalFailure()) return;
    }
    if (in_flight_ == 2) complete_oldest();
    const bool goes_on = launched && may_plan_ahead_ && !behind_;
    if (in_flight_ > 0 && !goes_on) complete_oldest();
    bury();
  }

  bool launch(bool ahead) {
    int running = 0;
    for (const auto& life : lives_) {
      Sequence& sequence = life->sequence;
      life->was = sequence.state;
      life->decoded = sequence.state == State::running && sequence.decoding();
      sequence.prompt_logit_limit = draining_ ? 10 : die(10);
      running += sequence.state == State::running;
      propose_draft(*life);
    }
    scheduler_->schedule(ahead);
    if (++steps_ % 8 == 0) scheduler_->check_integrity();
    check_limits();
    if (!ahead) {
      check_order();
      check_nobody_is_left_out(running);
    }
    if (::testing::Test::HasFatalFailure() || scheduler_->parts().empty()) return false;
    planned_ahead_ += ahead;
    kv_.compute(scheduler_->batch(), scheduler_->parts());
    if (may_plan_ahead_) newest_batch_ = scheduler_->batch();
    ++in_flight_;
    return true;
  }

  void complete_oldest() {
    PlannedStep& step = scheduler_->oldest();
    const bool behind = std::exchange(behind_, false);  // and what it wrote is spoiled
    if (behind || die(16) == 0) {
      fail_and_repeat(step, behind);
    } else {
      scheduler_->land(step);
      for (const StepPart& part : std::vector(step.parts)) {
        if (part.sequence->state != State::finished) advance(part);
      }
    }
    --in_flight_;
    scheduler_->finish_step();
  }

  void propose_draft(Life& life) {
    Sequence& sequence = life.sequence;
    sequence.draft.clear();
    sequence.draft_rows = 0;
    if (!life.decoded || life.samples > 1) return;
    const int next = sequence.expected_length();
    const int useful = std::max(life.end - next - 1, 0);
    sequence.draft_rows = std::min(die(5), useful);
    for (int i = 0; i < sequence.draft_rows; ++i) {
      const bool right = die(4) != 0;
      sequence.draft.push_back(right ? token_of(life.text, next + i) : 51);
    }
  }

  // --- what a step promises

  void check_limits() {
    ASSERT_LE(scheduler_->batch().rows(), limits_.max_step_tokens);
    ASSERT_LE(scheduler_->batch().wanted.size(), std::size_t(limits_.max_logit_rows));
    int slots = 0;
    for (const Sequence* sequence : scheduler_->running()) slots += sequence->slots;
    ASSERT_LE(slots, limits_.max_sequences);
  }

  void check_order() {
    for (const auto& admitted : lives_) {
      const Sequence& a = admitted->sequence;
      if (admitted->was != State::waiting || a.state != State::running) continue;
      found_ += a.found_tokens > 0;
      for (const auto& other : lives_) {
        const Sequence& b = other->sequence;
        if (b.state != State::waiting || b.paused) continue;
        ASSERT_LE(b.priority, a.priority) << "a higher priority begins first";
        if (other->was == State::running || b.caller == a.caller) {
          ASSERT_TRUE(a.goes_before(b)) << "a caller's begin in order, the preempted come back";
        }
      }
    }
    for (const auto& preempted : lives_) {
      const Sequence& victim = preempted->sequence;
      if (preempted->was != State::running || victim.state != State::waiting) continue;
      if (victim.paused) continue;
      for (const auto& other : lives_) {
        const Sequence& b = other->sequence;
        if (other->was != State::running || b.state != State::running || b.paused) continue;
        ASSERT_TRUE(b.goes_before(victim)) << "the youngest of the lowest priority goes first";
      }
    }
  }

  void check_nobody_is_left_out(int were_running) {
    const int budget =
        std::min(std::max(step_tokens_, were_running + kLeastPromptRows), limits_.max_step_tokens);
    const Batch& batch = scheduler_->batch();
    const bool full =
        batch.rows() >= budget || static_cast<int>(batch.wanted.size()) >= limits_.max_logit_rows;
    bool anyone = false;
    for (const auto& life : lives_) {
      const Sequence& sequence = life->sequence;
      const auto part = std::ranges::find(scheduler_->parts(), &sequence, &StepPart::sequence);
      const bool planned = part != scheduler_->parts().end();
      ASSERT_FALSE(planned && (sequence.paused || sequence.state != State::running));
      anyone = anyone || sequence.state == State::running;
      if (sequence.state != State::running || sequence.paused) continue;
      if (saves_in_place()) continue;  // somebody may have to wait for a slot
      if (life->decoded && life->was == State::running) {
        ASSERT_TRUE(planned) << "who decodes keeps its pace";
      }
      const int rows = planned ? part->rows - part->drafted : 0;
      // By the reader's room for logits, or by what room its windows have, which is some.
      const bool bounded =
          sequence.logits_from < sequence.length() - 1 || (blocks_.has_windows() && rows > 0);
      ASSERT_TRUE(full || bounded || sequence.computed + rows == sequence.length());
    }
    const auto could = [](const auto& life) {
      return life->sequence.state == State::waiting && !life->sequence.paused;
    };
    ASSERT_TRUE(anyone || std::ranges::none_of(lives_, could)) << "somebody begins";
    const auto can = [](const auto& life) {
      return life->sequence.state == State::running && !life->sequence.paused &&
             life->sequence.logits_from == life->sequence.length() - 1;
    };
    ASSERT_TRUE(batch.rows() > 0 || std::ranges::none_of(lives_, can)) << "somebody goes on";
  }

  // The step failed, after it wrote something or before; so did one behind it. Each part is
  // repeated, and some fail.
  void fail_and_repeat(PlannedStep& step, bool spoiled) {
    if (in_flight_ == 2) {
      behind_ = true;
      kv_.spoil(newest_batch_);
      scheduler_->land(scheduler_->newest());
    }
    scheduler_->land(step);
    for (const StepPart& part : std::vector(step.parts)) {
      if (part.sequence->state != State::running) continue;
      const StepPart alone = part.without_draft();
      const Batch& single = scheduler_->single(step, alone);
      if (!spoiled) kv_.spoil(single);
      if (die(8) == 0) {
        end(life_of(*part.sequence), /*failed=*/true);
      } else if (part.in_place()) {
        ++recomputed_;
        scheduler_->recompute(*part.sequence);
      } else {
        kv_.compute(single, std::span(&alone, 1));
        advance(alone);
      }
    }
  }

  Life* life_of(const Sequence& sequence) const {
    const auto life = std::ranges::find_if(
        lives_, [&](const auto& candidate) { return &candidate->sequence == &sequence; });
    return life->get();
  }

  void advance(const StepPart& part) {
    Life& life = *life_of(*part.sequence);
    Sequence& sequence = life.sequence;
    scheduler_->advance(part, part.rows - part.drafted);
    life.logits_seen = std::max(life.logits_seen, sequence.computed);
    if (sequence.computed == sequence.length()) {
      fork(life);
      draw(life);
      for (int row = 0; row < part.drafted && sequence.state == State::running; ++row) {
        if (sequence.tokens.back() != sequence.draft[row]) break;
        scheduler_->advance(part, 1);
        ++accepted_;
        draw(life);
      }
    }
    if (sequence.state == State::running) life.want_logits();
  }

  void fork(Life& parent) {
    parent.sequence.slots = 1;
    for (int sample = 1; sample < parent.samples; ++sample) {
      auto child = std::make_unique<Life>();
      child->text = parent.text * 100'000 + sample;
      child->end = parent.end;
      child->sequence.age = parent.sequence.age;
      child->sequence.sample = sample;
      child->sequence.tokens = parent.sequence.tokens;
      child->sequence.prompt_length = parent.sequence.prompt_length;
      child->sequence.most_tokens = child->end;
      child->want_logits();
      scheduler_->fork(parent.sequence, child->sequence);
      child->holds = parent.holds;  // which in the engine are the request's, of all its samples
      child->sequence.holds = child->holds;
      draw(*child);
      lives_.push_back(std::move(child));
      ++forked_;
    }
    parent.samples = 1;
  }

  void draw(Life& life) {
    Sequence& sequence = life.sequence;
    sequence.tokens.push_back(token_of(life.text, sequence.length()));
    life.want_logits();
    const bool stops = may_plan_ahead_ && die(30) == 0;  // which nobody knew beforehand
    if (stops || sequence.length() >= life.end) end(&life, /*failed=*/false);
  }

  // Everybody's reader comes back: then everyone ends, and every block is free or idle.
  void drain() {
    draining_ = true;
    set_step_tokens(limits_.max_step_tokens);
    for (const auto& life : lives_) life->sequence.paused = false;
    for (int i = 0; !lives_.empty(); ++i) {
      ASSERT_LT(i, 20'000) << "somebody waits for ever";
      step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    draining_ = false;
    scheduler_->check_integrity();
    ASSERT_EQ(blocks_.used(), 0);
    if (has_states()) {
      ASSERT_EQ(states_->used(), 0);
    }
    ASSERT_EQ(scheduler_->waiting(), 0);
    ASSERT_EQ(scheduler_->preempted(), 0);
    ASSERT_EQ(finished_, static_cast<int>(arrivals_) + forked_) << "each ends once";
  }

  std::mt19937 random_;
  SchedulerLimits limits_;
  const std::vector<KvGroup> groups_;
  const int longest_;           // blocks of a sequence at most
  const unsigned states_kind_;  // 0: none, 1: slots enough, 2: few
  const bool may_plan_ahead_;
  const bool has_roles_;
  const CachePlan plan_;
  BlockPools blocks_;
  ModelCache kv_;
  std::unique_ptr<StatePool> states_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<Life>> lives_;
  Batch newest_batch_;  // without its saves, which are named
  std::uint64_t arrivals_ = 0;
  int step_tokens_ = 0;
  int operations_ = 0, steps_ = 0, forked_ = 0, finished_ = 0, found_ = 0, accepted_ = 0;
  int in_flight_ = 0, planned_ahead_ = 0, recomputed_ = 0;
  bool behind_ = false;  // the step in flight failed with the one before it
  bool draining_ = false;
};

}  // namespace mlxd::testing
