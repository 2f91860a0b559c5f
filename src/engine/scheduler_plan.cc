// What the next step computes: Scheduler::schedule and its parts.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/scheduler.h"

namespace mlxd {
namespace {

int slots_of(const std::vector<Sequence*>& list) {
  int slots = 0;
  for (const Sequence* sequence : list) slots += sequence->slots;
  return slots;
}

}  // namespace

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
  slots_ = slots_of(running_) + ended_in_flight();

  make_way();
  states_.begin(running_, slots_);
  plan_decodes();
  plan_prompts();
  plan_drafts();
  states_.plan_saves(step_);
  settle_preempted();

  batch_.build(step_);
  take_off();
}

// They have blocks in windowed groups until then, where every place has its reserve.
int Scheduler::ended_in_flight() const {
  if (!two_ || !blocks_.has_windows()) return 0;
  return static_cast<int>(std::ranges::count_if(older_.parts, [](const StepPart& part) {
    return part.sequence->state == Sequence::State::finished;
  }));
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

// Who has to be fed tokens again for its state leaves a row for each that comes after it.
void Scheduler::plan_decodes() {
  int after = static_cast<int>(running_.size());
  for (Sequence* sequence : running_) {
    --after;
    if (sequence->state != Sequence::State::running) continue;  // preempted a moment ago
    if (sequence->paused || !sequence->decoding() || tokens_left_ == 0) continue;
    if (!states_.can_go_on(*sequence)) continue;
    StepPart part{.sequence = sequence, .first = sequence->planned()};
    if (!make_room_for_next_token(*sequence, part)) continue;
    if (states_.any()) states_.plan(part);
    const int rows = sequence->expected_length() - part.first;
    resize(part, std::clamp(tokens_left_ - after, 1, rows));
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
    if (limits_.whole && !has_room_for_whole(*sequence)) break;
    if (sequence->state == Sequence::State::waiting && !admit(*sequence)) {
      admitting = false;
      continue;
    }
    const int most = limits_.whole ? sequence->length() : std::min(tokens, tokens_left_);
    const int rows = plan_chunk(*sequence, most);
    queue_.charge(*sequence, rows);
    const StepPart* part = rows > 0 ? &*part_of(*sequence) : nullptr;
    if (part == nullptr || part->first + part->rows == sequence->length()) {
      queue_.erase(*sequence);  // it has all that this step can give it
      set_aside_.push_back(sequence);
    }
  }
}

// The first of a step may be longer than the step was to be.
bool Scheduler::has_room_for_whole(const Sequence& sequence) {
  if (step_.parts.empty()) tokens_left_ = std::max(tokens_left_, sequence.length());
  return sequence.length() <= tokens_left_;
}

Scheduler::Needs Scheduler::needs_of(const Sequence& sequence) const {
  Needs needs;
  // Rows whose logits are still wanted are computed: the last token's always, those of the prompt
  // when its log-probabilities were asked for.
  if (cache_ != nullptr) {
    needs.prefix = cache_->find(sequence.cache_salt, prefix_of(sequence, sequence.logits_from));
    needs.state = cache_->state_after(needs.prefix);
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
  states_.admit(next, needs.state);
  next.cached_blocks = needs.prefix.size();
  next.found_tokens = next.cached_blocks * limits_.block_size;
  next.computed = next.found_tokens;
  preempted_waiting_ -= std::exchange(next.preempted, false);
  run(next);
  slots_ += next.slots;
  queue_.push(next);
  return true;
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
  return sequence.expected_length() - 1 == (last + 1) * limits_.block_size ||
         blocks_.is_shared(sequence.blocks, last);
}

// Sees to it that the block of the next position is there and nobody else's. Windows let go when a
// step is over: a long piece of a prompt in flight may leave a decoded row behind it no room yet.
bool Scheduler::make_room_for_next_token(Sequence& sequence, StepPart& part) {
  const int next = sequence.expected_length() - 1;
  if (blocks_.rows_with_room(sequence.blocks, next, 1) < 1) return false;
  while (sequence.state == Sequence::State::running) {
    const int last = sequence.blocks.size() - 1;
    const std::size_t copies = step_.copies.size();
    const bool grows = next == (last + 1) * limits_.block_size;
    if (grows ? blocks_.allocate(sequence.blocks, 1)
              : !blocks_.is_shared(sequence.blocks, last) ||
                    blocks_.unshare(sequence.blocks, last, step_.copies)) {
      blocks_.cover(sequence.blocks, next + 1);
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
    give_up(victim);
    slots_ -= victim.slots;
    preempted_.push_back(&victim);
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
  const bool known = planned != step_.parts.end();
  if (!known && !states_.can_go_on(sequence)) return 0;
  StepPart part = known ? *planned : StepPart{.sequence = &sequence, .first = sequence.planned()};
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
  if (known) {
    *planned = part;
  } else {
    if (states_.any()) states_.plan(part);
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
  const int end = part.first + rows;
  part.first_logit = std::max(sequence.logits_from, part.first);
  part.logit_rows =
      std::max(std::min(sequence.logits_to + sequence.tokens_ahead, end) - part.first_logit, 0);
  part.draws = part.logit_rows > 0 && end == sequence.expected_length() &&
               sequence.logits_to == sequence.length() && !sequence.pooled;
  tokens_left_ -= part.rows;
  logits_left_ -= part.logit_rows;
}

}  // namespace mlxd
