#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace mlxd {
namespace {

constexpr int kLeastPromptRows = 16;

void insert_by_age(std::vector<Sequence*>& list, Sequence& sequence) {
  const auto place =
      std::upper_bound(list.begin(), list.end(), &sequence,
                       [](const Sequence* a, const Sequence* b) { return a->older_than(*b); });
  list.insert(place, &sequence);
}

int slots_of(const std::vector<Sequence*>& list) {
  int slots = 0;
  for (const Sequence* sequence : list) {
    if (sequence->state == Sequence::State::running) slots += sequence->slots;
  }
  return slots;
}

}  // namespace

void Scheduler::add(Sequence& sequence) {
  sequence.state = Sequence::State::waiting;
  insert_by_age(waiting_, sequence);
}

void Scheduler::fork(Sequence& parent, Sequence& child) {
  enter_full_blocks(parent);  // so that no two sequences have the same blocks yet to enter
  blocks_.share(parent.blocks, child.blocks);
  child.computed = parent.computed;
  child.cache_salt = parent.cache_salt;
  child.cached_blocks = parent.cached_blocks;
  child.state = Sequence::State::running;
  insert_by_age(running_, child);
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.state == Sequence::State::finished) return;
  enter_full_blocks(sequence);
  std::erase(sequence.state == Sequence::State::running ? running_ : waiting_, &sequence);
  blocks_.release(sequence.blocks);
  sequence.state = Sequence::State::finished;
}

void Scheduler::discard(Sequence& sequence) {
  if (cache_ != nullptr) cache_->forget(sequence.blocks);
  sequence.computed = 0;  // so that `remove` enters nothing
  remove(sequence);
}

void Scheduler::schedule() {
  finish_step();
  const int decoding = static_cast<int>(running_.size());
  tokens_left_ =
      std::min(std::max(step_tokens_, decoding + kLeastPromptRows), limits_.max_step_tokens);
  logits_left_ = limits_.max_logit_rows;

  plan_decodes();
  plan_prompts();
  admit();
  plan_drafts();
  settle_preempted();

  batch_.tokens.clear();
  batch_.positions.clear();
  batch_.sequences.clear();
  batch_.logit_rows.clear();
  batch_.block_copies = copies_;
  for (const StepPart& part : parts_) append_rows(part, batch_);
}

// A block that is copied keeps its contents until the step is over, since the step may have to be
// repeated in parts; only then may its last reference go.
void Scheduler::finish_step() {
  for (const auto& [from, to] : copies_) blocks_.unpin(from);
  for (const StepPart& part : parts_) {
    Sequence& sequence = *part.sequence;
    enter_full_blocks(sequence);
    if (part.drafted > 0) blocks_.shorten(sequence.blocks, blocks_for(sequence.computed));
  }
  copies_.clear();
  parts_.clear();
}

void Scheduler::plan_decodes() {
  for (Sequence* sequence : running_) {
    if (sequence->state != Sequence::State::running) continue;  // preempted a moment ago
    if (sequence->paused || !sequence->decoding() || tokens_left_ == 0) continue;
    StepPart part;
    part.rows = 1;
    if (make_room_for_next_token(*sequence, part)) plan(*sequence, part);
  }
}

void Scheduler::plan_prompts() {
  for (Sequence* sequence : running_) {
    if (sequence->state != Sequence::State::running) continue;
    if (!sequence->paused && !sequence->decoding()) plan_chunk(*sequence);
  }
}

// Starts waiting sequences whose tokens so far fit beside a block for each running one to grow
// into; a smaller reserve would preempt soon what it let in.
void Scheduler::admit() {
  int slots = slots_of(running_);
  int begun = 0;
  for (; begun < static_cast<int>(waiting_.size()) && tokens_left_ > 0;) {
    Sequence& next = *waiting_[begun];
    if (next.paused) {  // preempted, and its reader is still behind
      ++begun;
      continue;
    }
    // Who was preempted while it was paused finds its place taken, perhaps by others who are
    // paused.
    while (slots + next.slots > limits_.max_sequences &&
           preempt_youngest(/*paused_only=*/true, &next)) {
      slots = slots_of(running_);
    }
    if (slots + next.slots > limits_.max_sequences) break;
    const BlockTable prefix = find_prefix(next);
    const int fresh = blocks_for(next.length()) - static_cast<int>(prefix.size());
    const auto fits = [&] {
      // Blocks of the prefix that others hold cost nothing; idle ones are taken from the available.
      const auto idle = std::ranges::count_if(prefix, [&](int b) { return !blocks_.in_use(b); });
      return fresh + static_cast<int>(idle) + slots <= blocks_.available();
    };
    while (!fits() && preempt_youngest(/*paused_only=*/true)) slots = slots_of(running_);
    if (!fits()) break;
    blocks_.adopt(next.blocks, prefix);
    check(blocks_.allocate(next.blocks, fresh), "blocks that were counted are there");
    next.cached_blocks = static_cast<int>(prefix.size());
    next.found_tokens = next.cached_blocks * limits_.block_size;
    next.computed = next.found_tokens;
    waiting_.erase(waiting_.begin() + begun);
    next.state = Sequence::State::running;
    insert_by_age(running_, next);
    slots += next.slots;
    plan_chunk(next);
  }
}

// Rows whose logits are still wanted are computed: the last token's always, those of the prompt
// when its log-probabilities were asked for.
BlockTable Scheduler::find_prefix(const Sequence& sequence) const {
  if (cache_ == nullptr) return {};
  return cache_->find(sequence.cache_salt, std::span(sequence.tokens).first(sequence.logits_from));
}

// Whatever became of the last step: `computed` counts what is certainly in the KV cache.
void Scheduler::enter_full_blocks(Sequence& sequence) {
  if (cache_ == nullptr || sequence.state != Sequence::State::running) return;
  if (sequence.computed / limits_.block_size <= sequence.cached_blocks) return;
  sequence.cached_blocks =
      cache_->enter(sequence.cache_salt, std::span(sequence.tokens).first(sequence.computed),
                    sequence.blocks, sequence.cached_blocks);
}

// The blocks of drafted positions are fresh: a sequence that decodes has none beyond its last
// token.
void Scheduler::plan_drafts() {
  for (StepPart& part : parts_) {
    Sequence& sequence = *part.sequence;
    int drafted = std::min({sequence.draft_rows, tokens_left_, logits_left_});
    if (drafted <= 0) continue;
    const int held = static_cast<int>(sequence.blocks.size());
    const int wanted = blocks_for(sequence.length() + drafted) - held;
    const int got = std::min(wanted, blocks_.available());
    if (got > 0) blocks_.allocate(sequence.blocks, got);
    drafted = std::min(drafted, (held + got) * limits_.block_size - sequence.length());
    part.drafted = drafted;
    part.rows += drafted;
    part.logit_rows += drafted;
    tokens_left_ -= drafted;
    logits_left_ -= drafted;
  }
}

// Sees to it that the block of the next position is there and nobody else's.
bool Scheduler::make_room_for_next_token(Sequence& sequence, StepPart& part) {
  const int index = sequence.computed / limits_.block_size;
  while (sequence.state == Sequence::State::running) {
    if (index == static_cast<int>(sequence.blocks.size())) {
      if (blocks_.allocate(sequence.blocks, 1)) return true;
    } else if (!blocks_.is_shared(sequence.blocks[index])) {
      return true;
    } else if (const auto copy = blocks_.unshare(sequence.blocks, index)) {
      blocks_.pin(copy->first);
      copies_.push_back(*copy);
      part.copies = 1;
      return true;
    }
    preempt_youngest(/*paused_only=*/true) || preempt_youngest(/*paused_only=*/false);
  }
  return false;  // it was the youngest itself
}

// Members of the step being planned are never hit: they are older than whoever asks, and not
// paused. With `in_favour_of`, only who is younger than that is.
bool Scheduler::preempt_youngest(bool paused_only, const Sequence* in_favour_of) {
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    Sequence& victim = **it;
    if (victim.state != Sequence::State::running || (paused_only && !victim.paused)) continue;
    if (in_favour_of != nullptr && !in_favour_of->older_than(victim)) return false;
    blocks_.release(victim.blocks);
    victim.computed = 0;
    victim.cached_blocks = 0;
    victim.draft_rows = 0;
    victim.state = Sequence::State::waiting;
    preempted_.push_back(&victim);
    ++preemptions_;
    return true;
  }
  return false;
}

void Scheduler::settle_preempted() {
  for (Sequence* sequence : preempted_) {
    std::erase(running_, sequence);
    insert_by_age(waiting_, *sequence);
  }
  preempted_.clear();
}

void Scheduler::plan_chunk(Sequence& sequence) {
  StepPart part;
  part.rows = std::min(tokens_left_, sequence.length() - sequence.computed);
  // Rows of the prompt that give logits are many: they are bounded by memory and by the reader.
  if (sequence.logits_from < sequence.length() - 1) {
    const int allowed = std::min(sequence.prompt_logit_limit, logits_left_);
    const int silent = std::max(sequence.logits_from - sequence.computed, 0);
    part.rows = std::min(part.rows, silent + allowed);
  }
  if (part.rows > 0) plan(sequence, part);
}

void Scheduler::plan(Sequence& sequence, StepPart part) {
  part.sequence = &sequence;
  part.first_logit = std::max(sequence.logits_from, sequence.computed);
  part.logit_rows =
      std::max(std::min(sequence.logits_to, sequence.computed + part.rows) - part.first_logit, 0);
  tokens_left_ -= part.rows;
  logits_left_ -= part.logit_rows;
  parts_.push_back(part);
}

void Scheduler::append_rows(const StepPart& part, Batch& batch) const {
  const Sequence& sequence = *part.sequence;
  BatchSequence entry;
  entry.first_row = batch.rows();
  entry.query_length = part.rows;
  entry.context_length = sequence.computed + part.rows;
  entry.blocks = std::span(sequence.blocks).first(blocks_for(entry.context_length));
  for (int i = 0; i < part.rows; ++i) {
    const int known = part.rows - part.drafted;
    batch.tokens.push_back(i < known ? sequence.tokens[sequence.computed + i]
                                     : sequence.draft[i - known]);
    batch.positions.push_back(sequence.computed + i);
  }
  for (int i = 0; i < part.logit_rows; ++i) {
    batch.logit_rows.push_back(entry.first_row + part.first_logit - sequence.computed + i);
  }
  batch.sequences.push_back(entry);
}

void Scheduler::fill_single(const StepPart& part, Batch& batch) const {
  batch = Batch{};
  int first_copy = 0;
  for (const StepPart* before = parts_.data(); before->sequence != part.sequence; ++before) {
    first_copy += before->copies;
  }
  batch.block_copies.assign(copies_.begin() + first_copy,
                            copies_.begin() + first_copy + part.copies);
  append_rows(part, batch);
}

void Scheduler::check_integrity() const {
  std::vector<const BlockTable*> tables;
  BlockTable pinned;
  for (const auto& [from, to] : copies_) pinned.push_back(from);
  tables.push_back(&pinned);
  for (const Sequence* sequence : running_) {
    check(sequence->state == Sequence::State::running, "running sequences know that they run");
    check(static_cast<int>(sequence->blocks.size()) >= blocks_for(sequence->computed),
          "a running sequence has a block for each token in the KV cache");
    check(sequence->cached_blocks <= sequence->computed / limits_.block_size,
          "only what is computed is in the prefix cache");
    check(sequence->computed < sequence->length(), "a running sequence has something to compute");
    tables.push_back(&sequence->blocks);
  }
  for (const Sequence* sequence : waiting_) {
    check(sequence->state == Sequence::State::waiting, "waiting sequences know that they wait");
    check(sequence->blocks.empty() && sequence->computed == 0, "who waits holds no blocks");
  }
  const auto by_age = [](const Sequence* a, const Sequence* b) { return a->older_than(*b); };
  check(std::is_sorted(running_.begin(), running_.end(), by_age), "running: oldest first");
  check(std::is_sorted(waiting_.begin(), waiting_.end(), by_age), "waiting: oldest first");
  blocks_.check_integrity(tables);
  if (cache_ != nullptr) cache_->check_integrity();
}

}  // namespace mlxd
