#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/generate_job.h"
#include "engine/sequence.h"

namespace mlxd {

// One caller's sequences of one priority.
struct CallerLine {
  std::uint64_t caller = 0;
  int members = 0;  // queued or decoding; without any, the line is gone
  int credit = 0;   // tokens left of the round; below 0: owed
  SequenceSet waiting, starting;

  bool contends() const { return !waiting.empty() || !starting.empty(); }
  // The first that may go on; null when there is none.
  Sequence* first(bool admitting) const;
};

// Whose prompt is computed next. It holds the sequences that have more to compute than their next
// token: those that wait for a place and blocks, and those that have them and are starting.
// Inference thread only. Only `join` needs memory.
//
// The highest priority goes first. Within one, callers take turns by deficit round robin (Shreedhar
// and Varghese 1995) over the tokens that steps compute for them, prompts and generated ones; a
// caller's own sequences go first come, first served.
//
// A round gives every caller a quantum of credit. Whose credit is used up waits for the next round,
// which begins when that is so of all who have something to start. The cost of a piece is charged
// after it was chosen, so credit may fall below zero. Tokens that sequences generate are charged
// too, but neither asked for nor held back; what a caller owes for them is bounded, and forgotten
// whenever nobody has anything to start: time that nobody else wanted is free.
class PromptQueue {
 public:
  static constexpr int kQuantum = 64;     // tokens a round
  static constexpr int kMostDebt = 4096;  // tokens that a caller owes at most

  struct Turn {
    Sequence* sequence = nullptr;  // null: there is none
    int tokens = 0;                // to compute of it before somebody else is asked about
  };

  // From its arrival to its end, whether or not it is in the queue, a sequence is of a caller.
  void join(Sequence& sequence);
  // Of one that has not joined, nothing.
  void leave(Sequence& sequence) noexcept;

  // Enters it by its state: waiting, or running, which is starting here.
  void push(Sequence& sequence) noexcept;
  // Of one that is not in the queue, nothing.
  void erase(Sequence& sequence) noexcept;
  // Nobody is in the queue, nobody owes or is owed anything.
  void clear() noexcept;

  // Without `admitting`, of those alone that are starting. The paused ones are passed over.
  Turn next(bool admitting);
  // A step computed so many tokens of it.
  void charge(const Sequence& sequence, int tokens);

  int waiting() const { return waiting_; }
  bool is_starting(const Sequence& sequence) const;

  // Broken: the process ends, naming what broke.
  void check_integrity() const;

 private:
  struct Priority {
    std::vector<std::unique_ptr<CallerLine>> lines;  // a ring
    std::size_t turn = 0;                            // whose credit is asked first
    int contending = 0;                              // lines that have something to start
  };

  Turn next_of(Priority& priority, bool admitting);
  static void begin_rounds(Priority& priority, int rounds);
  Priority& priority_of(const Sequence& sequence) { return priorities_[sequence.priority]; }

  std::array<Priority, kHighestPriority + 1> priorities_;
  int waiting_ = 0;
};

}  // namespace mlxd
