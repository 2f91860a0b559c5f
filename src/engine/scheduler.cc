#include "engine/scheduler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"

namespace mlxd {
namespace {

void insert_in_order(std::vector<Sequence*>& list, Sequence& sequence) {
  const auto place = std::ranges::upper_bound(list, &sequence, FirstFirst());
  list.insert(place, &sequence);
}

// It has no blocks and is to be computed from its first token on.
void wait_again(Sequence& sequence) {
  sequence.blocks.clear();
  sequence.computed = 0;
  sequence.cached_blocks = 0;
  sequence.draft_rows = 0;
  sequence.state = Sequence::State::waiting;
}

int slots_of(const std::vector<Sequence*>& list) {
  int slots = 0;
  for (const Sequence* sequence : list) slots += sequence->slots;
  return slots;
}

}  // namespace

void Scheduler::add(Sequence& sequence) {
  sequence.state = Sequence::State::waiting;
  queue_.join(sequence);
  queue_.push(sequence);
}

void Scheduler::fork(Sequence& parent, Sequence& child) {
  child.priority = parent.priority;
  child.caller = parent.caller;
  child.cache_salt = parent.cache_salt;
  queue_.join(child);
  enter_full_blocks(parent);  // so that no two sequences have the same blocks yet to enter
  blocks_.let_go(parent.blocks, parent.computed);
  blocks_.share(parent.blocks, child.blocks);
  child.computed = parent.computed;
  child.cached_blocks = parent.cached_blocks;
  insert_in_order(running_, child);
  child.state = Sequence::State::running;
}

void Scheduler::remove(Sequence& sequence) noexcept {
  if (sequence.state == Sequence::State::finished) return;
  enter_full_blocks(sequence);
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
  }
  two_ = false;
  preempted_waiting_ = 0;
  if (cache_ != nullptr) cache_->clear();
  blocks_.reset();
}

void Scheduler::restart(Sequence& sequence) noexcept {
  sequence.preempted = sequence.preempted || sequence.state == Sequence::State::running;
  preempted_waiting_ += sequence.preempted;
  wait_again(sequence);
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

void Scheduler::schedule(bool ahead) {
  if (ahead) {
    std::swap(step_, older_);
    two_ = true;
  } else {
    while (two_ || !step_.parts.empty()) finish_step();
  }
  step_.landed = false;
  const int decoding = static_cast<int>(running_.size());
  tokens_left_ =
      std::min(std::max(step_tokens_, decoding + kLeastPromptRows), limits_.max_step_tokens);
  logits_left_ = limits_.max_logit_rows;
  slots_ = slots_of(running_);

  make_way();
  plan_decodes();
  plan_prompts();
  plan_drafts();
  settle_preempted();

  batch_.tokens.clear();
  batch_.positions.clear();
  batch_.sequences.clear();
  batch_.wanted.clear();
  batch_.block_copies = step_.copies;
  for (const StepPart& part : step_.parts) append_rows(part, batch_);
  take_off();
}

// From here on the step counts as in flight.
void Scheduler::take_off() {
  for (std::size_t i = 0; i < step_.parts.size(); ++i) {
    const StepPart& part = step_.parts[i];
    Sequence& sequence = *part.sequence;
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
    --sequence.steps_ahead;
    sequence.rows_ahead -= part.rows - part.drafted;
    sequence.tokens_ahead -= part.draws > 0;
    if (sequence.state == Sequence::State::finished && sequence.steps_ahead == 0) {
      blocks_.release(sequence.blocks);
    }
  }
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
    enter_full_blocks(sequence);
    if (part.drafted > 0) {
      queue_.charge(sequence, std::max(sequence.computed - part.first_logit - 1, 0));
      blocks_.shorten(sequence.blocks, blocks_for(sequence.computed));
    }
    // Its rows in flight begin here or later.
    blocks_.let_go(sequence.blocks, sequence.computed);
  }
  step.copies.clear();
  step.parts.clear();
  two_ = false;
}

// Who waits and is more urgent than some that run takes what it needs from these. Before the step
// is planned, since its members are not preempted; one a step.
void Scheduler::make_way() {
  const Sequence* next = queue_.next(/*admitting=*/true).sequence;
  if (next == nullptr || next->state != Sequence::State::waiting) return;
  const auto less_urgent = [next](const Sequence& s) { return s.priority < next->priority; };
  if (running_.empty() || !less_urgent(*running_.back())) return;

  int slots = 0;
  int blocks = 0;
  for (const Sequence* sequence : running_) {
    if (!less_urgent(*sequence)) continue;
    slots += sequence->slots;
    blocks += sequence->blocks.size();
  }
  if (slots_ - slots + next->slots > limits_.max_sequences) return;  // it would not be enough
  const Needs needs = needs_of(*next);
  if (needs.fresh + slots_ - slots > blocks_.available() + blocks) return;
  const auto paused = [&](const Sequence& s) { return s.paused && less_urgent(s); };
  while (slots_ + next->slots > limits_.max_sequences || !fits(needs)) {
    if (!preempt_last(paused) && !preempt_last(less_urgent)) break;
  }
}

void Scheduler::plan_decodes() {
  for (Sequence* sequence : running_) {
    if (sequence->state != Sequence::State::running) continue;  // preempted a moment ago
    if (sequence->paused || !sequence->decoding() || tokens_left_ == 0) continue;
    StepPart part;
    part.sequence = sequence;
    if (!make_room_for_next_token(*sequence, part)) continue;
    resize(part, 1);
    step_.parts.push_back(part);
    queue_.charge(*sequence, 1);
  }
}

void Scheduler::plan_prompts() {
  step_.first_prompt_part = step_.parts.size();
  bool admitting = true;
  while (tokens_left_ > 0) {
    const auto [sequence, tokens] = queue_.next(admitting);
    if (sequence == nullptr) break;
    if (sequence->state == Sequence::State::waiting && !admit(*sequence)) {
      admitting = false;
      continue;
    }
    const int rows = plan_chunk(*sequence, std::min(tokens, tokens_left_));
    queue_.charge(*sequence, rows);
    const StepPart* part = rows > 0 ? &*part_of(*sequence) : nullptr;
    if (part == nullptr || sequence->planned() + part->rows == sequence->length()) {
      queue_.erase(*sequence);  // it has all that this step can give it
      set_aside_.push_back(sequence);
    }
  }
}

Scheduler::Needs Scheduler::needs_of(const Sequence& sequence) const {
  Needs needs;
  // Rows whose logits are still wanted are computed: the last token's always, those of the prompt
  // when its log-probabilities were asked for.
  if (cache_ != nullptr) {
    needs.prefix =
        cache_->find(sequence.cache_salt, std::span(sequence.tokens).first(sequence.logits_from));
  }
  needs.fresh = blocks_for(sequence.length()) - needs.prefix.size();
  return needs;
}

// Beside a block for each running sequence to grow into; a smaller reserve would preempt soon what
// it let in. Blocks of the prefix that others hold cost nothing; idle ones are taken from the
// available.
bool Scheduler::fits(const Needs& needs) const {
  return needs.fresh + blocks_.idle_of(needs.prefix) + slots_ <= blocks_.available();
}

bool Scheduler::admit(Sequence& next) {
  // Who had to go for want of blocks comes back before others take what it left.
  if (std::ranges::any_of(preempted_, [&](const Sequence* victim) {
        return !victim->paused && victim->goes_before(next);
      })) {
    return false;
  }
  // Who was preempted while it was paused finds its place taken, perhaps by others who are paused.
  // Older ones have it back whatever their priority: their readers may be the same, who read one
  // answer after the other.
  const auto gives_its_place = [&](const Sequence& s) {
    return s.paused && (next.goes_before(s) || next.older_than(s));
  };
  while (slots_ + next.slots > limits_.max_sequences) {
    if (!preempt_last(gives_its_place)) return false;
  }
  const auto paused = [](const Sequence& s) { return s.paused; };
  while (slots_ >= blocks_.available()) {  // less than any sequence needs
    if (!preempt_last(paused)) return false;
  }
  const Needs needs = needs_of(next);
  while (!fits(needs)) {
    if (!preempt_last(paused)) return false;
  }

  queue_.erase(next);
  blocks_.adopt(next.blocks, needs.prefix);
  check(blocks_.allocate(next.blocks, needs.fresh), "blocks that were counted are there");
  next.cached_blocks = needs.prefix.size();
  next.found_tokens = next.cached_blocks * limits_.block_size;
  next.computed = next.found_tokens;
  next.state = Sequence::State::running;
  preempted_waiting_ -= std::exchange(next.preempted, false);
  insert_in_order(running_, next);
  slots_ += next.slots;
  queue_.push(next);
  return true;
}

// Whatever became of the last step: `computed` counts what is certainly in the KV cache.
void Scheduler::enter_full_blocks(Sequence& sequence) {
  if (cache_ == nullptr || sequence.state != Sequence::State::running) return;
  if (sequence.computed < (sequence.cached_blocks + 1) * limits_.block_size) return;
  sequence.cached_blocks =
      cache_->enter(sequence.cache_salt, std::span(sequence.tokens).first(sequence.computed),
                    sequence.blocks, sequence.cached_blocks);
}

// The blocks of drafted positions are fresh: a sequence that decodes has none beyond its last
// token.
void Scheduler::plan_drafts() {
  for (StepPart& part : step_.parts) {
    Sequence& sequence = *part.sequence;
    if (part.draws == 0 || sequence.draft.empty()) continue;
    part.guess = sequence.draft[0];
    int drafted = std::min({sequence.draft_rows, tokens_left_, logits_left_});
    if (drafted <= 0) continue;
    drafted = blocks_.rows_with_room(sequence.blocks, sequence.expected_length(), drafted);
    if (drafted <= 0) continue;
    const int held = sequence.blocks.size();
    const int wanted = blocks_for(sequence.expected_length() + drafted) - held;
    const int got = std::min(wanted, blocks_.available());
    if (got > 0) blocks_.allocate(sequence.blocks, got);
    drafted = std::min(drafted, (held + got) * limits_.block_size - sequence.expected_length());
    blocks_.cover(sequence.blocks, sequence.expected_length() + drafted);
    part.drafted = drafted;
    const bool more = drafted < static_cast<int>(sequence.draft.size());
    part.guess = more ? sequence.draft[drafted] : -1;
    part.rows += drafted;
    part.logit_rows += drafted;
    part.draws += drafted;
    tokens_left_ -= drafted;
    logits_left_ -= drafted;
  }
}

// For its next position a block of its own.
bool Scheduler::needs_block(const Sequence& sequence) const {
  const int last = sequence.blocks.size() - 1;
  return sequence.planned() == (last + 1) * limits_.block_size ||
         blocks_.is_shared(sequence.blocks, last);
}

// Sees to it that the block of the next position is there and nobody else's. Windows let go when a
// step is over: a long piece of a prompt in flight may leave a decoded row behind it no room yet.
bool Scheduler::make_room_for_next_token(Sequence& sequence, StepPart& part) {
  if (blocks_.rows_with_room(sequence.blocks, sequence.planned(), 1) < 1) return false;
  while (sequence.state == Sequence::State::running) {
    const int last = sequence.blocks.size() - 1;
    const std::size_t copies = step_.copies.size();
    const bool grows = sequence.planned() == (last + 1) * limits_.block_size;
    if (grows ? blocks_.allocate(sequence.blocks, 1)
              : blocks_.unshare(sequence.blocks, last, step_.copies)) {
      blocks_.cover(sequence.blocks, sequence.planned() + 1);
      part.first_copy = static_cast<int>(copies);
      part.copies = static_cast<int>(step_.copies.size() - copies);
      return true;
    }
    if (!preempt_last([](const Sequence& s) { return s.paused; }) &&
        !preempt_last([](const Sequence&) { return true; })) {
      break;  // all have rows in flight
    }
  }
  return false;
}

// Members of the step being planned are never hit: they go before whoever asks, and are not paused.
// Nor are those with rows in flight.
template <class MayGo>
bool Scheduler::preempt_last(MayGo may_go) {
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    Sequence& victim = **it;
    if (victim.state != Sequence::State::running || victim.steps_ahead > 0) continue;
    if (!may_go(victim)) continue;
    queue_.erase(victim);
    blocks_.release(victim.blocks);
    wait_again(victim);
    victim.preempted = true;
    slots_ -= victim.slots;
    preempted_.push_back(&victim);
    ++preempted_waiting_;
    ++preemptions_;
    return true;
  }
  return false;
}

void Scheduler::settle_preempted() {
  for (Sequence* sequence : preempted_) {
    std::erase(running_, sequence);
    queue_.push(*sequence);
  }
  preempted_.clear();
}

// Plans up to `most` rows of the sequence, beside those that it may have in this step already.
// Returns how many.
int Scheduler::plan_chunk(Sequence& sequence, int most) {
  const auto planned = part_of(sequence);
  StepPart part = planned != step_.parts.end() ? *planned : StepPart{.sequence = &sequence};
  const int before = part.rows;
  int rows = std::min(before + most, sequence.length() - sequence.planned());
  // Rows of the prompt that give logits are many: they are bounded by memory and by the reader.
  int allowed = logits_left_ + part.logit_rows;
  if (sequence.logits_from < sequence.length() - 1) {
    allowed = std::min(allowed, sequence.prompt_logit_limit);
  }
  rows = std::min(rows, std::max(sequence.logits_from - sequence.planned(), 0) + allowed);
  rows = blocks_.rows_with_room(sequence.blocks, sequence.planned(), rows);
  if (rows <= before) return 0;
  blocks_.cover(sequence.blocks, sequence.planned() + rows);
  resize(part, rows);
  if (planned != step_.parts.end()) {
    *planned = part;
  } else {
    step_.parts.push_back(part);
  }
  return rows - before;
}

std::vector<StepPart>::iterator Scheduler::part_of(const Sequence& sequence) {
  return std::find_if(step_.parts.begin() + step_.first_prompt_part, step_.parts.end(),
                      [&](const StepPart& part) { return part.sequence == &sequence; });
}

// Takes the rows from what the step has left.
void Scheduler::resize(StepPart& part, int rows) {
  const Sequence& sequence = *part.sequence;
  tokens_left_ += part.rows;
  logits_left_ += part.logit_rows;
  part.rows = rows;
  const int end = sequence.planned() + rows;
  part.first_logit = std::max(sequence.logits_from, sequence.planned());
  part.logit_rows =
      std::max(std::min(sequence.logits_to + sequence.tokens_ahead, end) - part.first_logit, 0);
  part.draws = part.logit_rows > 0 && end == sequence.expected_length() &&
               sequence.logits_to == sequence.length();
  tokens_left_ -= part.rows;
  logits_left_ -= part.logit_rows;
}

void Scheduler::append_rows(const StepPart& part, Batch& batch) const {
  const Sequence& sequence = *part.sequence;
  const int first = sequence.planned();
  BatchSequence entry;
  entry.first_row = batch.rows();
  entry.query_length = part.rows;
  entry.context_length = first + part.rows;
  for (int group = 0; group < blocks_.groups(); ++group) {
    entry.blocks[group] =
        std::span(sequence.blocks.of(group)).first(blocks_for(entry.context_length));
  }
  const int known = std::min(part.rows - part.drafted, sequence.length() - first);
  const auto from = sequence.tokens.begin() + first;
  batch.tokens.insert(batch.tokens.end(), from, from + known);
  if (known < part.rows - part.drafted) batch.tokens.push_back(~sequence.draw_ahead);
  batch.tokens.insert(batch.tokens.end(), sequence.draft.begin(),
                      sequence.draft.begin() + part.drafted);
  for (int i = 0; i < part.rows; ++i) batch.positions.push_back(first + i);
  for (int i = 0; i < part.logit_rows; ++i) {
    const bool token = limits_.draws && i >= part.logit_rows - part.draws;
    batch.wanted.push_back({entry.first_row + part.first_logit - first + i,
                            token ? RowOutput::token : RowOutput::logits});
  }
  batch.sequences.push_back(entry);
}

void Scheduler::fill_single(const PlannedStep& step, const StepPart& part, Batch& batch) const {
  batch = Batch{};
  const auto copies = step.copies.begin() + part.first_copy;
  batch.block_copies.assign(copies, copies + part.copies);
  append_rows(part, batch);
}

void Scheduler::check_integrity() const {
  std::vector<const BlockTables*> tables;
  std::vector<BlockCopy> copies;
  std::set<const Sequence*> ended;  // with rows in flight
  for (const PlannedStep* step : {&older_, &step_}) {
    copies.insert(copies.end(), step->copies.begin(), step->copies.end());
    for (const StepPart& part : step->parts) {
      if (part.sequence->steps_ahead > 0 && part.sequence->state == Sequence::State::finished) {
        ended.insert(part.sequence);
      }
    }
  }
  for (const Sequence* sequence : ended) tables.push_back(&sequence->blocks);
  for (const Sequence* sequence : running_) {
    check(sequence->state == Sequence::State::running, "running sequences know that they run");
    check(sequence->blocks.size() >= blocks_for(sequence->computed),
          "a running sequence has a block for each token in the KV cache");
    check(sequence->cached_blocks <= sequence->computed / limits_.block_size,
          "only what is computed is in the prefix cache");
    check(sequence->computed < sequence->length(), "a running sequence has something to compute");
    check(sequence->planned() >= sequence->expected_length() - 1 || queue_.is_starting(*sequence),
          "who is neither decoding nor in flight with all it has is in the queue");
    tables.push_back(&sequence->blocks);
  }
  check(std::ranges::is_sorted(running_, FirstFirst()), "running: as they are served");
  queue_.check_integrity();
  blocks_.check_integrity(tables, copies);
  if (cache_ != nullptr) cache_->check_integrity();
}

}  // namespace mlxd
