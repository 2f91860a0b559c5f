#include "engine/prompt_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace mlxd {
namespace {

Sequence* first_of(const SequenceSet& sequences) {
  const auto first = std::ranges::find_if(sequences, [](const Sequence* s) { return !s->paused; });
  return first == sequences.end() ? nullptr : *first;
}

}  // namespace

Sequence* CallerLine::first(bool admitting) const {
  Sequence* started = first_of(starting);
  Sequence* arrived = admitting ? first_of(waiting) : nullptr;
  if (started == nullptr || arrived == nullptr) return started != nullptr ? started : arrived;
  return arrived->goes_before(*started) ? arrived : started;
}

void PromptQueue::join(Sequence& sequence) {
  check(sequence.priority >= 0 && sequence.priority <= kHighestPriority, "a priority is 0 to 9");
  sequence.place = SequenceSet{&sequence}.extract(&sequence);
  auto& lines = priority_of(sequence).lines;
  auto line = std::ranges::find(lines, sequence.caller, &CallerLine::caller);
  if (line == lines.end()) {
    line = lines.insert(lines.end(), std::make_unique<CallerLine>());
    (*line)->caller = sequence.caller;
  }
  sequence.line = line->get();
  ++sequence.line->members;
}

void PromptQueue::leave(Sequence& sequence) noexcept {
  if (sequence.line == nullptr) return;
  erase(sequence);
  CallerLine* line = std::exchange(sequence.line, nullptr);
  if (--line->members > 0) return;
  Priority& priority = priority_of(sequence);
  const auto place =
      std::ranges::find(priority.lines, line, [](const auto& pointer) { return pointer.get(); });
  const auto index = static_cast<std::size_t>(place - priority.lines.begin());
  priority.lines.erase(place);
  if (index < priority.turn) --priority.turn;
  if (priority.turn >= priority.lines.size()) priority.turn = 0;
}

void PromptQueue::push(Sequence& sequence) noexcept {
  CallerLine& line = *sequence.line;
  const bool waits = sequence.state == Sequence::State::waiting;
  if (!line.contends()) ++priority_of(sequence).contending;
  check(!sequence.place.empty(), "a sequence is queued once");
  (waits ? line.waiting : line.starting).insert(std::move(sequence.place));
  waiting_ += waits;
}

void PromptQueue::erase(Sequence& sequence) noexcept {
  if (!sequence.place.empty()) return;
  CallerLine& line = *sequence.line;
  sequence.place = line.waiting.extract(&sequence);
  if (!sequence.place.empty()) {
    --waiting_;
  } else {
    sequence.place = line.starting.extract(&sequence);
  }
  if (line.contends()) return;
  Priority& priority = priority_of(sequence);
  if (--priority.contending > 0) return;
  for (const auto& other : priority.lines) other->credit = 0;
}

void PromptQueue::clear() noexcept {
  const auto empty = [](SequenceSet& sequences) {
    while (!sequences.empty()) {
      Sequence& first = **sequences.begin();
      first.place = sequences.extract(sequences.begin());
    }
  };
  for (Priority& priority : priorities_) {
    for (const auto& line : priority.lines) {
      empty(line->waiting);
      empty(line->starting);
      line->credit = 0;
    }
    priority.contending = 0;
  }
  waiting_ = 0;
}

PromptQueue::Turn PromptQueue::next(bool admitting) {
  for (auto priority = priorities_.rbegin(); priority != priorities_.rend(); ++priority) {
    if (priority->contending == 0) continue;
    if (const Turn turn = next_of(*priority, admitting); turn.sequence != nullptr) return turn;
  }
  return {};
}

PromptQueue::Turn PromptQueue::next_of(Priority& priority, bool admitting) {
  const std::size_t lines = priority.lines.size();
  for (;;) {
    int contenders = 0;
    int most_credit = -kMostDebt;
    std::size_t chosen = lines;
    Turn turn;
    for (std::size_t i = 0; i < lines; ++i) {
      const std::size_t index = (priority.turn + i) % lines;
      const CallerLine& line = *priority.lines[index];
      Sequence* const first = line.first(admitting);
      if (first == nullptr) continue;
      ++contenders;
      most_credit = std::max(most_credit, line.credit);
      if (chosen != lines || line.credit <= 0) continue;
      chosen = index;
      turn = {first, line.credit};
    }
    if (contenders == 0) return {};
    if (contenders == 1) turn.tokens = std::numeric_limits<int>::max();
    if (turn.sequence != nullptr) {
      // Who is passed over because nobody can be admitted keeps its turn.
      if (admitting) priority.turn = chosen;
      return turn;
    }
    begin_rounds(priority, 1 - most_credit / kQuantum);
  }
}

// As many rounds as it takes until somebody has credit. Nobody saves credit for later.
void PromptQueue::begin_rounds(Priority& priority, int rounds) {
  for (const auto& line : priority.lines) {
    line->credit = std::min(line->credit + rounds * kQuantum, line->contends() ? kQuantum : 0);
  }
}

void PromptQueue::charge(const Sequence& sequence, int tokens) {
  Priority& priority = priority_of(sequence);
  CallerLine* const line = sequence.line;
  if (priority.contending == 0) return;
  line->credit = std::max(line->credit - tokens, -kMostDebt);
  const bool its_turn = priority.lines[priority.turn].get() == line;
  if (its_turn && line->credit <= 0) priority.turn = (priority.turn + 1) % priority.lines.size();
}

bool PromptQueue::is_starting(const Sequence& sequence) const {
  return sequence.line->starting.contains(const_cast<Sequence*>(&sequence));
}

void PromptQueue::check_integrity() const {
  std::size_t waiting = 0;
  for (int p = 0; p <= kHighestPriority; ++p) {
    const Priority& priority = priorities_[p];
    check(priority.turn < std::max<std::size_t>(priority.lines.size(), 1), "it is a line's turn");
    int contending = 0;
    for (const auto& line : priority.lines) {
      contending += line->contends();
      waiting += line->waiting.size();
      check(line->members >= static_cast<int>(line->waiting.size() + line->starting.size()),
            "the queued sequences of a caller are some of its own");
      check(line->credit <= kQuantum && line->credit >= -kMostDebt, "credit and debt are bounded");
      for (const Sequence* sequence : line->waiting) {
        check(sequence->state == Sequence::State::waiting, "waiting sequences know that they wait");
        check(sequence->blocks.empty() && sequence->computed == 0, "who waits holds no blocks");
      }
      for (const Sequence* sequence : line->starting) {
        check(sequence->state == Sequence::State::running, "who starts has blocks");
      }
      const auto of_line = [&](const Sequence* s) {
        return s->line == line.get() && s->caller == line->caller && s->priority == p;
      };
      check(std::ranges::all_of(line->waiting, of_line) &&
                std::ranges::all_of(line->starting, of_line),
            "a line is of one caller and one priority");
    }
    check(contending == priority.contending, "contending lines are counted");
  }
  check(static_cast<int>(waiting) == waiting_, "waiting sequences are counted");
}

}  // namespace mlxd
