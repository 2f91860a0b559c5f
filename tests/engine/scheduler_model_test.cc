// Random operations on a Scheduler with its BlockPools, PromptQueue and PrefixGroups, against what
// these promise. The model is a KV cache that remembers which token of whom was written where: a
// step is right when each of its rows finds the sequence's own tokens before it.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/scheduler.h"

namespace mlxd {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kOperations = 60'000;
#else
constexpr int kOperations = 1'000'000;
#endif
constexpr int kSeeds = 10;
constexpr int kBlockSize = 4;

// One seed after the other.
const std::vector<KvGroup> kGroups[] = {
    {{.window = 0}},
    {{.window = 0}, {.window = 6}},
    {{.window = 9}, {.window = 0}, {.window = 1}},
    {{.window = 7}},
};

using State = Sequence::State;

int token_of(std::uint64_t text, int index) {
  std::uint64_t hash = (text * 1000 + index) * 0x9E3779B97F4A7C15;
  return static_cast<int>((hash ^ hash >> 31) % 50);
}

// One sequence, with what the engine would know of it.
struct Life {
  Sequence sequence;
  std::uint64_t text = 0;  // what it will say
  int end = 0;             // its length when it is over
  int samples = 1;         // that are still to be forked
  bool prompt_logits = false;
  int logits_seen = 0;  // rows of the prompt whose logits were computed
  // As of before the step.
  State was = State::waiting;
  bool decoded = false;

  void want_logits() {
    const int last = sequence.length() - 1;
    sequence.logits_from = prompt_logits ? std::min(logits_seen, last) : last;
    sequence.logits_to = sequence.length();
  }
};

// The engine's part, played at random.
class World {
 public:
  explicit World(unsigned seed)
      : random_(seed),
        limits_{.max_sequences = 3 + die(8), .max_logit_rows = 24, .block_size = kBlockSize},
        groups_(kGroups[seed % std::size(kGroups)]),
        longest_(12 + die(60)),
        blocks_(groups_, kBlockSize, plan()) {
    limits_.max_step_tokens = limits_.max_sequences + 4 + die(40);
    if (seed % 3 != 0 && blocks_.full_group() >= 0) {
      cache_ = std::make_unique<PrefixGroups>(blocks_, kBlockSize);
    }
    scheduler_ = std::make_unique<Scheduler>(limits_, blocks_, cache_.get());
    set_step_tokens(limits_.max_step_tokens);
    kv_.resize(groups_.size());
    for (std::size_t group = 0; group < kv_.size(); ++group) {
      kv_[group].resize(blocks_.pool(static_cast<int>(group)).total() * kBlockSize);
    }
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
  // In a windowed group alone nobody is in another's way.
  bool preempts() const { return blocks_.full_group() >= 0; }
  int accepted() const { return accepted_; }

 private:
  struct Cell {
    std::uint64_t salt = 0;
    int token = -1;
    int position = -1;
    bool operator==(const Cell&) const = default;
  };

  // Little beyond the reserves of windowed groups, so that chunks are cut to what has room.
  CachePlan plan() {
    CachePlan plan;
    plan.max_sequences = limits_.max_sequences;
    for (const KvGroup& group : groups_) {
      const bool full = group.window == 0;
      plan.reserve.push_back(full ? 0 : (group.window + kBlockSize - 1) / kBlockSize + 2);
      plan.size.blocks.push_back(full ? longest_
                                      : plan.max_sequences * plan.reserve.back() + die(12));
    }
    return plan;
  }

  int die(int sides) { return static_cast<int>(random_() % static_cast<unsigned>(sides)); }

  void operate() {
    ++operations_;
    const int what = die(100);
    if (what < 30 && lives_.size() < 24) {
      add();
    } else if (what < 55 && !lives_.empty()) {
      Sequence& sequence = pick()->sequence;
      sequence.paused = !sequence.paused && die(2) == 0;
    } else if (what < 58 && !lives_.empty()) {
      end(pick(), die(3) == 0);
      bury();
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
    const int common = die(prompt + 1);
    for (int i = 0; i < prompt; ++i) {
      sequence.tokens.push_back(token_of(i < common ? family : life->text, i));
    }
    sequence.prompt_length = prompt;
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
    ASSERT_TRUE(life->sequence.blocks.empty());
    ++finished_;
  }

  void bury() {
    scheduler_->finish_step();
    std::erase_if(lives_, [](const auto& life) { return life->sequence.state == State::finished; });
  }

  void step() {
    bury();
    int running = 0;
    for (const auto& life : lives_) {
      Sequence& sequence = life->sequence;
      life->was = sequence.state;
      life->decoded = sequence.state == State::running && sequence.decoding();
      sequence.prompt_logit_limit = draining_ ? 10 : die(10);
      running += sequence.state == State::running;
      propose_draft(*life);
    }
    scheduler_->schedule();
    if (++steps_ % 8 == 0) scheduler_->check_integrity();
    check_limits();
    check_order();
    check_nobody_is_left_out(running);
    if (::testing::Test::HasFatalFailure()) return;
    if (die(16) == 0) {
      fail_and_repeat();
    } else {
      compute(scheduler_->batch());
      scheduler_->land(scheduler_->oldest());
      const std::vector<StepPart> parts = scheduler_->parts();
      for (const StepPart& part : parts) advance(part);
    }
    if (!scheduler_->parts().empty()) bury();  // as the engine does
  }

  void propose_draft(Life& life) {
    Sequence& sequence = life.sequence;
    sequence.draft.clear();
    sequence.draft_rows = 0;
    if (!life.decoded || life.samples > 1) return;
    const int useful = std::max(life.end - sequence.length() - 1, 0);
    sequence.draft_rows = std::min(die(5), useful);
    for (int i = 0; i < sequence.draft_rows; ++i) {
      const bool right = die(4) != 0;
      sequence.draft.push_back(right ? token_of(life.text, sequence.length() + i) : 51);
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
      if (life->decoded && life->was == State::running) {
        ASSERT_TRUE(planned) << "who decodes keeps its pace";
      }
      const int rows = planned ? part->rows - part->drafted : 0;
      // By the reader's room for logits, or by what room its windows have, which is some.
      const bool windowed = blocks_.groups() > 1 || blocks_.full_group() < 0;
      const bool bounded = sequence.logits_from < sequence.length() - 1 || (windowed && rows > 0);
      ASSERT_TRUE(full || bounded || sequence.computed + rows == sequence.length());
    }
    const auto could = [](const auto& life) {
      return life->sequence.state == State::waiting && !life->sequence.paused;
    };
    ASSERT_TRUE(anyone || std::ranges::none_of(lives_, could)) << "somebody begins";
  }

  // --- the model

  void compute(const Batch& batch) {
    for (const auto& [group, from, to] : batch.block_copies) {
      const auto cells = kv_[group].begin();
      std::copy_n(cells + from * kBlockSize, kBlockSize, cells + to * kBlockSize);
    }
    for (int group = 0; group < blocks_.groups(); ++group) {
      for (const BatchSequence& rows : batch.sequences) write(batch, rows, group);
      for (const BatchSequence& rows : batch.sequences) read(rows, group);
    }
  }

  void write(const Batch& batch, const BatchSequence& rows, int group) {
    const std::uint64_t salt = owner_of(rows)->cache_salt;
    const int first = rows.context_length - rows.query_length;
    for (int i = 0; i < rows.query_length; ++i) {
      cell(rows, group, first + i) = {salt, batch.tokens[rows.first_row + i], first + i};
    }
  }

  void read(const BatchSequence& rows, int group) {
    const Sequence& sequence = *owner_of(rows);
    const int known = std::min(rows.context_length, sequence.length());
    const int first = rows.context_length - rows.query_length;
    const int window = groups_[group].window;
    for (int position = window > 0 ? std::max(first - window + 1, 0) : 0; position < known;
         ++position) {
      const Cell wanted{sequence.cache_salt, sequence.tokens[position], position};
      ASSERT_EQ(cell(rows, group, position), wanted) << "somebody else's, or stale";
    }
  }

  Cell& cell(const BatchSequence& rows, int group, int position) {
    const int block = rows.blocks[group][position / kBlockSize];
    EXPECT_GE(block, 0) << "let go too early";
    return kv_[group].at(static_cast<std::size_t>(block) * kBlockSize + position % kBlockSize);
  }
  const Sequence* owner_of(const BatchSequence& rows) const {
    for (const StepPart& part : scheduler_->parts()) {
      if (part.sequence->blocks.of(0).data() == rows.blocks[0].data()) return part.sequence;
    }
    return nullptr;
  }

  // The step failed, after or before it wrote something; each part is repeated, and some fail.
  void fail_and_repeat() {
    if (die(2) == 0) compute(scheduler_->batch());
    Batch single;
    scheduler_->land(scheduler_->oldest());
    const std::vector<StepPart> parts = scheduler_->parts();
    for (const StepPart& part : parts) {
      if (die(8) == 0) {
        end(life_of(part), /*failed=*/true);
        continue;
      }
      scheduler_->fill_single(scheduler_->oldest(), part.without_draft(), single);
      compute(single);
      advance(part.without_draft());
    }
  }

  Life* life_of(const StepPart& part) {
    const auto life = std::ranges::find_if(
        lives_, [&](const auto& candidate) { return &candidate->sequence == part.sequence; });
    return life->get();
  }

  void advance(const StepPart& part) {
    Life& life = *life_of(part);
    Sequence& sequence = life.sequence;
    sequence.computed += part.rows - part.drafted;
    life.logits_seen = std::max(life.logits_seen, sequence.computed);
    if (sequence.computed == sequence.length()) {
      fork(life);
      draw(life);
      for (int row = 0; row < part.drafted && sequence.state == State::running; ++row) {
        if (sequence.tokens.back() != sequence.draft[row]) break;
        ++sequence.computed;
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
      child->want_logits();
      scheduler_->fork(parent.sequence, child->sequence);
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
    if (sequence.length() >= life.end) end(&life, /*failed=*/false);
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
    ASSERT_EQ(scheduler_->waiting(), 0);
    ASSERT_EQ(scheduler_->preempted(), 0);
    ASSERT_EQ(finished_, static_cast<int>(arrivals_) + forked_) << "each ends once";
  }

  std::mt19937 random_;
  SchedulerLimits limits_;
  const std::vector<KvGroup> groups_;
  const int longest_;  // blocks of a sequence at most
  BlockPools blocks_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::vector<Cell>> kv_;  // [groups][blocks, block_size]
  std::vector<std::unique_ptr<Life>> lives_;
  std::uint64_t arrivals_ = 0;
  int step_tokens_ = 0;
  int operations_ = 0, steps_ = 0, forked_ = 0, finished_ = 0, found_ = 0, accepted_ = 0;
  bool draining_ = false;
};

class SchedulerModel : public ::testing::TestWithParam<int> {};

TEST_P(SchedulerModel, KeepsItsPromisesOverRandomOperations) {
  World world(GetParam());
  world.run(kOperations / kSeeds);
  // The operations are such that there was something to promise.
  EXPECT_GT(world.finished(), kOperations / kSeeds / 50);
  EXPECT_GT(world.accepted(), kOperations / kSeeds / 100);
  if (world.preempts()) {
    EXPECT_GT(world.preemptions(), 10u);
  }
  if (world.finds()) {
    EXPECT_GT(world.found(), 100);
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerModel, ::testing::Range(0, kSeeds));

}  // namespace
}  // namespace mlxd
